// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Code page 437, the character set of the IBM PC's character generator.

/// Graphic characters 00h to 1Fh; 00h is blank.
const LOW: [char; 32] = [
    ' ', '☺', '☻', '♥', '♦', '♣', '♠', '•', '◘', '○', '◙', '♂', '♀', '♪', '♫', '☼', '►', '◄', '↕', '‼', '¶',
    '§', '▬', '↨', '↑', '↓', '→', '←', '∟', '↔', '▲', '▼',
];

/// Characters 80h to FFh.
const HIGH: [char; 128] = [
    'Ç', 'ü', 'é', 'â', 'ä', 'à', 'å', 'ç', 'ê', 'ë', 'è', 'ï', 'î', 'ì', 'Ä', 'Å', 'É', 'æ', 'Æ', 'ô', 'ö',
    'ò', 'û', 'ù', 'ÿ', 'Ö', 'Ü', '¢', '£', '¥', '₧', 'ƒ', 'á', 'í', 'ó', 'ú', 'ñ', 'Ñ', 'ª', 'º', '¿', '⌐',
    '¬', '½', '¼', '¡', '«', '»', '░', '▒', '▓', '│', '┤', '╡', '╢', '╖', '╕', '╣', '║', '╗', '╝', '╜', '╛',
    '┐', '└', '┴', '┬', '├', '─', '┼', '╞', '╟', '╚', '╔', '╩', '╦', '╠', '═', '╬', '╧', '╨', '╤', '╥', '╙',
    '╘', '╒', '╓', '╫', '╪', '┘', '┌', '█', '▄', '▌', '▐', '▀', 'α', 'ß', 'Γ', 'π', 'Σ', 'σ', 'µ', 'τ', 'Φ',
    'Θ', 'Ω', 'δ', '∞', 'φ', 'ε', '∩', '≡', '±', '≥', '≤', '⌠', '⌡', '÷', '≈', '°', '∙', '·', '√', 'ⁿ', '²',
    '■', ' ',
];

/// What the character generator draws for `code`. FFh is blank, as 00h and 20h are.
pub(super) fn to_unicode(code: u8) -> char {
    match code {
        0x00..=0x1f => LOW[usize::from(code)],
        0x7f => '⌂',
        0x80.. => HIGH[usize::from(code - 0x80)],
        _ => char::from(code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn known_characters() {
        for (code, character) in [
            (0x00, ' '),
            (0x01, '☺'),
            (0x1f, '▼'),
            (b'A', 'A'),
            (0x7e, '~'),
            (0x7f, '⌂'),
            (0x80, 'Ç'),
            (0x9b, '¢'),
            (0xb0, '░'),
            (0xc4, '─'),
            (0xcd, '═'),
            (0xdb, '█'),
            (0xe1, 'ß'),
            (0xf8, '°'),
            (0xfe, '■'),
            (0xff, ' '),
        ] {
            assert_eq!(to_unicode(code), character, "{code:#04x}");
        }
    }

    #[test]
    fn only_the_three_blanks_look_alike() {
        let all: HashSet<char> = (0..=255).map(to_unicode).collect();
        assert_eq!(all.len(), 254);
    }
}
