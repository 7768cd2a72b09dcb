// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The keys of a 104/105-key keyboard and their scan codes.

use super::translate::{BREAK_PREFIX, Translator};
use serde::{Deserialize, Serialize};

/// Prefix of the keys that the first PC did not have.
const EXTENDED: u8 = 0xe0;
/// Set 2 of Print Screen with Alt.
const SYS_RQ: u8 = 0x84;

/// A scan code set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum ScanCodeSet {
    /// The first PC's.
    Set1 = 1,
    /// The AT's, which keyboards start with.
    Set2 = 2,
    /// One code a key. Every key reports its release, as after command F8h.
    Set3 = 3,
}

macro_rules! keys {
    ($($(#[$meta:meta])* $key:ident: $set_2:expr, $set_3:expr;)*) => {
        /// A key, named by what a US keyboard has printed on it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "the names say it")]
        pub enum Key {
            $($(#[$meta])* $key,)*
        }

        impl Key {
            /// All keys.
            pub const ALL: &[Self] = &[$(Self::$key,)*];

            /// Code in set 2, with E0h in the upper byte if that is its prefix, and in set 3.
            fn codes(self) -> (u16, u8) {
                match self {
                    $(Self::$key => ($set_2, $set_3),)*
                }
            }
        }
    };
}

keys! {
    Escape: 0x76, 0x08;
    F1: 0x05, 0x07;
    F2: 0x06, 0x0f;
    F3: 0x04, 0x17;
    F4: 0x0c, 0x1f;
    F5: 0x03, 0x27;
    F6: 0x0b, 0x2f;
    F7: 0x83, 0x37;
    F8: 0x0a, 0x3f;
    F9: 0x01, 0x47;
    F10: 0x09, 0x4f;
    F11: 0x78, 0x56;
    F12: 0x07, 0x5e;
    PrintScreen: 0xe07c, 0x57;
    ScrollLock: 0x7e, 0x5f;
    Pause: 0xe077, 0x62;
    Grave: 0x0e, 0x0e;
    Digit1: 0x16, 0x16;
    Digit2: 0x1e, 0x1e;
    Digit3: 0x26, 0x26;
    Digit4: 0x25, 0x25;
    Digit5: 0x2e, 0x2e;
    Digit6: 0x36, 0x36;
    Digit7: 0x3d, 0x3d;
    Digit8: 0x3e, 0x3e;
    Digit9: 0x46, 0x46;
    Digit0: 0x45, 0x45;
    Minus: 0x4e, 0x4e;
    Equal: 0x55, 0x55;
    Backspace: 0x66, 0x66;
    Tab: 0x0d, 0x0d;
    Q: 0x15, 0x15;
    W: 0x1d, 0x1d;
    E: 0x24, 0x24;
    R: 0x2d, 0x2d;
    T: 0x2c, 0x2c;
    Y: 0x35, 0x35;
    U: 0x3c, 0x3c;
    I: 0x43, 0x43;
    O: 0x44, 0x44;
    P: 0x4d, 0x4d;
    LeftBracket: 0x54, 0x54;
    RightBracket: 0x5b, 0x5b;
    Backslash: 0x5d, 0x5c;
    CapsLock: 0x58, 0x14;
    A: 0x1c, 0x1c;
    S: 0x1b, 0x1b;
    D: 0x23, 0x23;
    F: 0x2b, 0x2b;
    G: 0x34, 0x34;
    H: 0x33, 0x33;
    J: 0x3b, 0x3b;
    K: 0x42, 0x42;
    L: 0x4b, 0x4b;
    Semicolon: 0x4c, 0x4c;
    Quote: 0x52, 0x52;
    Enter: 0x5a, 0x5a;
    LeftShift: 0x12, 0x12;
    /// Between left shift and Z on ISO keyboards.
    Iso: 0x61, 0x13;
    Z: 0x1a, 0x1a;
    X: 0x22, 0x22;
    C: 0x21, 0x21;
    V: 0x2a, 0x2a;
    B: 0x32, 0x32;
    N: 0x31, 0x31;
    M: 0x3a, 0x3a;
    Comma: 0x41, 0x41;
    Period: 0x49, 0x49;
    Slash: 0x4a, 0x4a;
    RightShift: 0x59, 0x59;
    LeftControl: 0x14, 0x11;
    LeftWindows: 0xe01f, 0x8b;
    LeftAlt: 0x11, 0x19;
    Space: 0x29, 0x29;
    RightAlt: 0xe011, 0x39;
    RightWindows: 0xe027, 0x8c;
    Menu: 0xe02f, 0x8d;
    RightControl: 0xe014, 0x58;
    Insert: 0xe070, 0x67;
    Delete: 0xe071, 0x64;
    Home: 0xe06c, 0x6e;
    End: 0xe069, 0x65;
    PageUp: 0xe07d, 0x6f;
    PageDown: 0xe07a, 0x6d;
    Up: 0xe075, 0x63;
    Down: 0xe072, 0x60;
    Left: 0xe06b, 0x61;
    Right: 0xe074, 0x6a;
    NumLock: 0x77, 0x76;
    KeypadDivide: 0xe04a, 0x77;
    KeypadMultiply: 0x7c, 0x7e;
    KeypadSubtract: 0x7b, 0x84;
    KeypadAdd: 0x79, 0x7c;
    KeypadEnter: 0xe05a, 0x79;
    Keypad0: 0x70, 0x70;
    Keypad1: 0x69, 0x69;
    Keypad2: 0x72, 0x72;
    Keypad3: 0x7a, 0x7a;
    Keypad4: 0x6b, 0x6b;
    Keypad5: 0x73, 0x73;
    Keypad6: 0x74, 0x74;
    Keypad7: 0x6c, 0x6c;
    Keypad8: 0x75, 0x75;
    Keypad9: 0x7d, 0x7d;
    KeypadDecimal: 0x71, 0x71;
}

/// The modifiers that change what a key sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Modifiers {
    /// A Ctrl key is down.
    pub control: bool,
    /// An Alt key is down.
    pub alt: bool,
}

impl Key {
    /// What the keyboard sends when the key goes down or up.
    pub fn scan_codes(self, pressed: bool, set: ScanCodeSet, modifiers: Modifiers) -> Vec<u8> {
        let set_2 = match set {
            ScanCodeSet::Set3 => {
                let (_, code) = self.codes();
                return if pressed {
                    vec![code]
                } else {
                    vec![BREAK_PREFIX, code]
                };
            }
            ScanCodeSet::Set1 | ScanCodeSet::Set2 => self.set_2(pressed, modifiers),
        };
        if set == ScanCodeSet::Set2 {
            return set_2;
        }
        let mut translator = Translator::default();
        set_2
            .into_iter()
            .filter_map(|byte| translator.translate(byte))
            .collect()
    }

    fn set_2(self, pressed: bool, modifiers: Modifiers) -> Vec<u8> {
        match (self, pressed) {
            // Pause says all when it goes down. With Ctrl it is Break, whose code is that of Scroll Lock.
            (Self::Pause, true) if modifiers.control => vec![EXTENDED, 0x7e, EXTENDED, BREAK_PREFIX, 0x7e],
            (Self::Pause, true) => vec![0xe1, 0x14, 0x77, 0xe1, BREAK_PREFIX, 0x14, BREAK_PREFIX, 0x77],
            (Self::Pause, false) => Vec::new(),
            // Print Screen comes with a shift of its own, as the key of the first PC needed one.
            (Self::PrintScreen, true) if modifiers.alt => vec![SYS_RQ],
            (Self::PrintScreen, false) if modifiers.alt => vec![BREAK_PREFIX, SYS_RQ],
            (Self::PrintScreen, true) => vec![EXTENDED, 0x12, EXTENDED, 0x7c],
            (Self::PrintScreen, false) => {
                vec![EXTENDED, BREAK_PREFIX, 0x7c, EXTENDED, BREAK_PREFIX, 0x12]
            }
            _ => {
                let [prefix, code] = self.codes().0.to_be_bytes();
                let mut bytes = Vec::new();
                if prefix == EXTENDED {
                    bytes.push(EXTENDED);
                }
                if !pressed {
                    bytes.push(BREAK_PREFIX);
                }
                bytes.push(code);
                bytes
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Modifiers = Modifiers {
        control: false,
        alt: false,
    };

    #[test]
    fn one_key_in_three_sets() {
        let codes = |set| [true, false].map(|pressed| Key::RightControl.scan_codes(pressed, set, NONE));
        assert_eq!(codes(ScanCodeSet::Set1), [vec![0xe0, 0x1d], vec![0xe0, 0x9d]]);
        assert_eq!(
            codes(ScanCodeSet::Set2),
            [vec![0xe0, 0x14], vec![0xe0, 0xf0, 0x14]]
        );
        assert_eq!(codes(ScanCodeSet::Set3), [vec![0x58], vec![0xf0, 0x58]]);
    }

    /// Set 1 counts along the rows of the first PC's keyboard.
    #[test]
    fn set_1_follows_the_rows() {
        use Key::*;
        let rows = [
            Escape,
            Digit1,
            Digit2,
            Digit3,
            Digit4,
            Digit5,
            Digit6,
            Digit7,
            Digit8,
            Digit9,
            Digit0,
            Minus,
            Equal,
            Backspace,
            Tab,
            Q,
            W,
            E,
            R,
            T,
            Y,
            U,
            I,
            O,
            P,
            LeftBracket,
            RightBracket,
            Enter,
            LeftControl,
            A,
            S,
            D,
            F,
            G,
            H,
            J,
            K,
            L,
            Semicolon,
            Quote,
            Grave,
            LeftShift,
            Backslash,
            Z,
            X,
            C,
            V,
            B,
            N,
            M,
            Comma,
            Period,
            Slash,
            RightShift,
            KeypadMultiply,
            LeftAlt,
            Space,
            CapsLock,
            F1,
            F2,
            F3,
            F4,
            F5,
            F6,
            F7,
            F8,
            F9,
            F10,
            NumLock,
            ScrollLock,
            Keypad7,
            Keypad8,
            Keypad9,
            KeypadSubtract,
            Keypad4,
            Keypad5,
            Keypad6,
            KeypadAdd,
            Keypad1,
            Keypad2,
            Keypad3,
            Keypad0,
            KeypadDecimal,
        ];
        for (key, code) in rows.into_iter().zip(1..) {
            assert_eq!(key.scan_codes(true, ScanCodeSet::Set1, NONE), [code], "{key:?}");
        }
        for (key, code) in [(Iso, 0x56), (F11, 0x57), (F12, 0x58)] {
            assert_eq!(key.scan_codes(true, ScanCodeSet::Set1, NONE), [code], "{key:?}");
        }
        // The newer keys double those of the number pad and others behind a prefix.
        for (key, like) in [
            (Insert, Keypad0),
            (Delete, KeypadDecimal),
            (Home, Keypad7),
            (End, Keypad1),
            (PageUp, Keypad9),
            (PageDown, Keypad3),
            (Up, Keypad8),
            (Down, Keypad2),
            (Left, Keypad4),
            (Right, Keypad6),
            (KeypadDivide, Slash),
            (KeypadEnter, Enter),
            (RightAlt, LeftAlt),
            (RightControl, LeftControl),
        ] {
            let mut codes = like.scan_codes(true, ScanCodeSet::Set1, NONE);
            codes.insert(0, 0xe0);
            assert_eq!(key.scan_codes(true, ScanCodeSet::Set1, NONE), codes, "{key:?}");
        }
        for (key, code) in [(LeftWindows, 0x5b), (RightWindows, 0x5c), (Menu, 0x5d)] {
            assert_eq!(
                key.scan_codes(true, ScanCodeSet::Set1, NONE),
                [0xe0, code],
                "{key:?}"
            );
        }
    }

    #[test]
    fn keys_that_depend_on_others() {
        let set_1 = |key: Key, pressed, modifiers| key.scan_codes(pressed, ScanCodeSet::Set1, modifiers);
        let alt = Modifiers { alt: true, ..NONE };
        let control = Modifiers {
            control: true,
            ..NONE
        };
        assert_eq!(set_1(Key::PrintScreen, true, NONE), [0xe0, 0x2a, 0xe0, 0x37]);
        assert_eq!(set_1(Key::PrintScreen, false, NONE), [0xe0, 0xb7, 0xe0, 0xaa]);
        assert_eq!(set_1(Key::PrintScreen, true, alt), [0x54]);
        assert_eq!(set_1(Key::PrintScreen, false, alt), [0xd4]);
        assert_eq!(
            set_1(Key::Pause, true, NONE),
            [0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5]
        );
        assert_eq!(set_1(Key::Pause, true, control), [0xe0, 0x46, 0xe0, 0xc6]);
        assert_eq!(set_1(Key::Pause, false, NONE), []);
    }

    #[test]
    fn every_key_has_codes_of_its_own() {
        for set in [ScanCodeSet::Set1, ScanCodeSet::Set2, ScanCodeSet::Set3] {
            let mut codes: Vec<_> = Key::ALL
                .iter()
                .map(|key| key.scan_codes(true, set, NONE))
                .collect();
            codes.sort_unstable();
            codes.dedup();
            assert_eq!(codes.len(), Key::ALL.len());
            assert_eq!(codes.len(), 105);
        }
    }
}
