// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The date counters: how they count, and how register B has them written down.

use super::spec::{BANK_SIZE, date};

const DAY: u64 = 86_400;
/// Days from 0000-03-01, where a leap day ends its year, to 1970-01-01.
const EPOCH: i64 = 719_468;
/// Days in 400 years.
const ERA: i64 = 146_097;

/// How the registers hold numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    pub binary: bool,
    pub hours_24: bool,
}

impl Format {
    fn encode(self, value: u8) -> u8 {
        if self.binary {
            value
        } else {
            ((value / 10 % 10) << 4) | (value % 10)
        }
    }

    /// Any byte is some number: at most 165 in BCD.
    fn decode(self, byte: u8) -> u8 {
        if self.binary {
            byte
        } else {
            (byte >> 4) * 10 + (byte & 0x0f)
        }
    }

    fn encode_hour(self, hour: u8) -> u8 {
        if self.hours_24 {
            return self.encode(hour);
        }
        let pm = if hour >= 12 { date::PM } else { 0 };
        self.encode((hour + 11) % 12 + 1) | pm
    }

    fn decode_hour(self, byte: u8) -> u8 {
        if self.hours_24 {
            return self.decode(byte);
        }
        let pm = if byte & date::PM != 0 { 12 } else { 0 };
        self.decode(byte & !date::PM) % 12 + pm
    }
}

/// The counters. A guest may have put any value into any of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date {
    pub second: u8,
    pub minute: u8,
    pub hour: u8,
    /// 1 is Sunday. Counts on its own: nothing makes it agree with the date.
    pub day_of_week: u8,
    pub day: u8,
    pub month: u8,
    /// With the century.
    pub year: u16,
}

impl Date {
    /// The date `unix` seconds after 1970. Beyond the years 0 to 9999 it stays at the edge.
    pub fn from_unix(unix: i64) -> Self {
        let day = DAY as i64;
        let days = unix.div_euclid(day).clamp(-719_528, 2_932_896);
        let second = unix.rem_euclid(day) as u64;
        let mut this = Self {
            second: (second % 60) as u8,
            minute: (second / 60 % 60) as u8,
            hour: (second / 3600) as u8,
            day_of_week: ((days + 4).rem_euclid(7) + 1) as u8,
            day: 1,
            month: 1,
            year: 0,
        };
        this.set_days(days);
        this
    }

    /// Reads the registers.
    pub fn decode(format: Format, bytes: &[u8; BANK_SIZE]) -> Self {
        let century = u16::from(format.decode(bytes[date::CENTURY]));
        Self {
            second: format.decode(bytes[date::SECONDS]),
            minute: format.decode(bytes[date::MINUTES]),
            hour: format.decode_hour(bytes[date::HOURS]),
            day_of_week: format.decode(bytes[date::DAY_OF_WEEK]),
            day: format.decode(bytes[date::DAY_OF_MONTH]),
            month: format.decode(bytes[date::MONTH]),
            year: century * 100 + u16::from(format.decode(bytes[date::YEAR])),
        }
    }

    /// Writes the registers.
    pub fn encode(self, format: Format, bytes: &mut [u8; BANK_SIZE]) {
        bytes[date::SECONDS] = format.encode(self.second);
        bytes[date::MINUTES] = format.encode(self.minute);
        bytes[date::HOURS] = format.encode_hour(self.hour);
        bytes[date::DAY_OF_WEEK] = format.encode(self.day_of_week);
        bytes[date::DAY_OF_MONTH] = format.encode(self.day);
        bytes[date::MONTH] = format.encode(self.month);
        bytes[date::YEAR] = format.encode((self.year % 100) as u8);
        bytes[date::CENTURY] = format.encode((self.year / 100) as u8);
    }

    /// Seconds since midnight; more than a day when a guest wrote nonsense.
    fn second_of_day(self) -> u64 {
        u64::from(self.hour) * 3600 + u64::from(self.minute) * 60 + u64::from(self.second)
    }

    /// Counts on. The day registers are touched at midnight only.
    pub fn advance(&mut self, seconds: u64) {
        let total = self.second_of_day().saturating_add(seconds);
        let second = total % DAY;
        self.second = (second % 60) as u8;
        self.minute = (second / 60 % 60) as u8;
        self.hour = (second / 3600) as u8;
        let days = total / DAY;
        if days > 0 {
            let weekday = u64::from(self.day_of_week.max(1) - 1);
            self.day_of_week = ((weekday + days % 7) % 7 + 1) as u8;
            // A u64 of nanoseconds is less than a million days.
            self.set_days(self.days() + days.min(1_000_000) as i64);
        }
    }

    /// Days since 1970-01-01.
    fn days(self) -> i64 {
        let months = i64::from(self.month.max(1)) - 1;
        // Years and months that begin in March.
        let shifted = i64::from(self.year) * 12 + months - 2;
        let (year, month) = (shifted.div_euclid(12), shifted.rem_euclid(12));
        let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
        let before_month = (153 * month + 2) / 5;
        year * 365 + leaps + before_month + i64::from(self.day) - 1 - EPOCH
    }

    fn set_days(&mut self, days: i64) {
        let days = days + EPOCH;
        let (era, day) = (days.div_euclid(ERA), days.rem_euclid(ERA));
        // Take out the leap days before `day`, so that all years are of 365.
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day_of_year = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day_of_year + 2) / 153;
        self.day = (day_of_year - (153 * month + 2) / 5 + 1) as u8;
        let shifted = (era * 400 + year) * 12 + month + 2;
        self.month = (shifted.rem_euclid(12) + 1) as u8;
        self.year = shifted.div_euclid(12).rem_euclid(10_000) as u16;
    }

    /// Seconds until the alarm next matches, at least 1. `None`: an alarm byte holds a value that its counter never takes.
    pub fn until_alarm(self, format: Format, bytes: &[u8; BANK_SIZE]) -> Option<u64> {
        let field = |byte: u8, decoded: u8, encoded: u8, range: u8| match byte {
            _ if byte & date::DONT_CARE == date::DONT_CARE => Some(Match::Any(range)),
            _ if decoded < range && encoded == byte => Some(Match::Only(decoded)),
            _ => None,
        };
        let plain = |byte: u8| {
            let value = format.decode(byte);
            field(byte, value, format.encode(value), 60)
        };
        let seconds = plain(bytes[date::SECONDS_ALARM])?;
        let minutes = plain(bytes[date::MINUTES_ALARM])?;
        let byte = bytes[date::HOURS_ALARM];
        let value = format.decode_hour(byte);
        let hours = field(byte, value, format.encode_hour(value), 24)?;

        // The first second that may match, then the first match in its minute, its hour, its day, or tomorrow.
        let now = self.second_of_day();
        let first = (now + 1) % DAY;
        let (hour, minute, second) = ((first / 3600) as u8, (first / 60 % 60) as u8, (first % 60) as u8);
        let at = |hour: u8, minute: u8, second: u8| {
            u64::from(hour) * 3600 + u64::from(minute) * 60 + u64::from(second)
        };
        let in_minute = || {
            (hours.has(hour) && minutes.has(minute))
                .then(|| seconds.from(second))
                .flatten()
                .map(|s| at(hour, minute, s))
        };
        let in_hour = || {
            hours
                .has(hour)
                .then(|| minutes.from(minute + 1))
                .flatten()
                .map(|m| at(hour, m, seconds.lowest()))
        };
        let in_day = || {
            hours
                .from(hour + 1)
                .map(|h| at(h, minutes.lowest(), seconds.lowest()))
        };
        let tomorrow = || DAY + at(hours.lowest(), minutes.lowest(), seconds.lowest());
        let matching = in_minute()
            .or_else(in_hour)
            .or_else(in_day)
            .unwrap_or_else(tomorrow);
        Some(matching - first + 1)
    }
}

/// What an alarm byte matches.
#[derive(Clone, Copy)]
enum Match {
    Only(u8),
    /// All values below this.
    Any(u8),
}

impl Match {
    fn has(self, value: u8) -> bool {
        self.from(value) == Some(value)
    }

    /// The first match at or after `value`.
    fn from(self, value: u8) -> Option<u8> {
        match self {
            Self::Only(only) => (only >= value).then_some(only),
            Self::Any(end) => (value < end).then_some(value),
        }
    }

    fn lowest(self) -> u8 {
        match self {
            Self::Only(only) => only,
            Self::Any(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BCD: Format = Format {
        binary: false,
        hours_24: true,
    };

    fn ymd(unix: i64) -> (u16, u8, u8, u8) {
        let date = Date::from_unix(unix);
        (date.year, date.month, date.day, date.day_of_week)
    }

    #[test]
    fn known_days() {
        // 1 is Sunday.
        assert_eq!(ymd(0), (1970, 1, 1, 5));
        assert_eq!(ymd(-1), (1969, 12, 31, 4));
        assert_eq!(ymd(951_782_400), (2000, 2, 29, 3));
        assert_eq!(ymd(951_868_800), (2000, 3, 1, 4));
        assert_eq!(ymd(1_709_164_800), (2024, 2, 29, 5));
        assert_eq!(ymd(4_107_542_400), (2100, 3, 1, 2));
        assert_eq!(ymd(i64::MAX), (9999, 12, 31, 6));
        assert_eq!(ymd(i64::MIN), (0, 1, 1, 7));
    }

    #[test]
    fn days_are_the_inverse_of_set_days() {
        let mut previous = Date::from_unix(-62_167_219_200);
        for days in (-719_528..2_932_896).step_by(17) {
            let date = Date::from_unix(days * 86_400);
            assert_eq!(date.days(), days);
            previous.advance(if days == -719_528 { 0 } else { 17 * DAY });
            assert_eq!(previous, date);
        }
    }

    #[test]
    fn every_hour_survives_every_format() {
        for (binary, hours_24) in [(false, false), (false, true), (true, false), (true, true)] {
            let format = Format { binary, hours_24 };
            for hour in 0..24 {
                assert_eq!(format.decode_hour(format.encode_hour(hour)), hour);
            }
        }
        let half_day = Format {
            binary: false,
            hours_24: false,
        };
        assert_eq!(half_day.encode_hour(0), 0x12);
        assert_eq!(half_day.encode_hour(12), 0x92);
        assert_eq!(half_day.encode_hour(23), 0x91);
    }

    #[test]
    fn nonsense_counts_on() {
        let mut bytes = [0xff; BANK_SIZE];
        let mut date = Date::decode(BCD, &bytes);
        date.advance(u64::MAX);
        date.encode(BCD, &mut bytes);
        let mut zero = Date::decode(BCD, &[0; BANK_SIZE]);
        zero.advance(DAY);
        assert_eq!((zero.month, zero.day, zero.day_of_week), (1, 1, 2));
    }

    /// The straightforward search, second by second.
    fn slow(mut date: Date, format: Format, bytes: &[u8; BANK_SIZE]) -> Option<u64> {
        let mut now = [0; BANK_SIZE];
        (1..=DAY).find(|_| {
            date.advance(1);
            date.encode(format, &mut now);
            [
                (date::SECONDS, date::SECONDS_ALARM),
                (date::MINUTES, date::MINUTES_ALARM),
                (date::HOURS, date::HOURS_ALARM),
            ]
            .iter()
            .all(|(time, alarm)| bytes[*alarm] >= date::DONT_CARE || bytes[*alarm] == now[*time])
        })
    }

    #[test]
    fn the_next_alarm_is_the_first_match() {
        for format in [
            BCD,
            Format {
                binary: true,
                hours_24: false,
            },
        ] {
            for seconds in [0x00, 0x30, 0xff] {
                for minutes in [0x05, 0xc0, 0x3b] {
                    for hours in [0x00, 0x01, 0x81, 0xff] {
                        let mut bytes = [0; BANK_SIZE];
                        bytes[date::SECONDS_ALARM] = seconds;
                        bytes[date::MINUTES_ALARM] = minutes;
                        bytes[date::HOURS_ALARM] = hours;
                        for start in [0, 299, 3_599, 5_400, 46_829, 86_399] {
                            let date = Date::from_unix(start);
                            assert_eq!(
                                date.until_alarm(format, &bytes),
                                slow(date, format, &bytes),
                                "{format:?} {hours:x}:{minutes:x}:{seconds:x} from {start}"
                            );
                        }
                    }
                }
            }
        }
    }
}
