// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Sizes as people write them.

/// Bytes from a number with an optional suffix K, M, G or T (powers of 1024; a following `B` or `iB` is accepted).
pub fn parse(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no size: use a number with K, M, G or T, such as 512M or 10G");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let shift = match suffix
        .to_ascii_uppercase()
        .trim_end_matches("IB")
        .trim_end_matches('B')
    {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| format!("`{text}` is too large"))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("1k", 1024),
            ("512M", 512 << 20),
            ("2GiB", 2 << 30),
            ("1tb", 1 << 40),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for bad in ["", "M", "1.5G", "-1", "1X", "16777216T", " 1"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
