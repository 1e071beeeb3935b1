//! Cron form: which minutes of which days are meant. POSIX fields and names of months and days, nothing else: no seconds, no years,
//! no `@daily`, no `L`, `W` or `#`.
//!
//! It knows no zone and no clock. A text is read once, in time that its length bounds, into bits.

use jiff::civil::Date;

/// More openings a day than this are not meant as openings.
pub const MOST_A_DAY: usize = 48;

/// Days and minutes of the day, as bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    months: u64,
    days: u64,
    weekdays: u64,
    /// One of the two day fields says nothing: the other decides. Else a day is meant when one of them means it.
    either: bool,
    /// Minutes after midnight, growing.
    minutes: Vec<i16>,
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

impl Cron {
    /// Reads `minute hour day-of-month month day-of-week`.
    ///
    /// # Errors
    /// A sentence that names the field, and what to write.
    ///
    /// ```
    /// use jiff::civil::date;
    /// use tidegate::decide::cron::Cron;
    /// let cron = Cron::parse("30 9,13 * * Mon-Thu").unwrap();
    /// assert_eq!(cron.minutes_of(date(2026, 11, 23)), [570, 810]);
    /// assert!(cron.minutes_of(date(2026, 11, 22)).is_empty());
    /// assert!(Cron::parse("0 25 * * *").unwrap_err().contains("hour"));
    /// ```
    pub fn parse(text: &str) -> Result<Self, String> {
        let fields: Vec<&str> = text.split(' ').filter(|field| !field.is_empty()).take(6).collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err("write five fields: minute, hour, day of the month, month, day of the week".into());
        };
        let minute = bits("minute", minute, 0, 59, &[])?;
        let hour = bits("hour", hour, 0, 23, &[])?;
        let weekdays = bits("day of the week", weekday, 0, 7, &WEEKDAYS)?;
        let starts = minute.count_ones() * hour.count_ones();
        if usize::try_from(starts).unwrap_or(usize::MAX) > MOST_A_DAY {
            return Err(format!(
                "opens {starts} times a day, at most {MOST_A_DAY} are meant as openings: write when it opens, and how long for"
            ));
        }
        let of = |bits: u64| (0..64i16).filter(move |bit| (bits >> bit) & 1 == 1);
        Ok(Self {
            months: bits("month", month, 1, 12, &MONTHS)?,
            days: bits("day of the month", day, 1, 31, &[])?,
            // Sunday is 0 and 7.
            weekdays: weekdays | (weekdays >> 7),
            either: !day.starts_with('*') && !weekday.starts_with('*'),
            minutes: of(hour).flat_map(|hour| of(minute).map(move |minute| hour * 60 + minute)).collect(),
        })
    }

    /// The minutes of this day that are meant, after midnight, growing.
    pub fn minutes_of(&self, date: Date) -> &[i16] {
        let is = |bits: u64, bit: i8| (bits >> bit) & 1 == 1;
        let day = is(self.days, date.day());
        let weekday = is(self.weekdays, date.weekday().to_sunday_zero_offset());
        let meant = if self.either { day || weekday } else { day && weekday };
        if meant && is(self.months, date.month()) { &self.minutes } else { &[] }
    }
}

/// A field as bits: `*`, `7`, `1-5`, `*/15`, `10-50/20`, `Mon-Thu`, and lists of these.
fn bits(field: &str, text: &str, least: u8, most: u8, names: &[&str]) -> Result<u64, String> {
    let wrong =
        |part: &str| format!("{field} '{part}': write *, numbers from {least} to {most}, 1-5, */15 or 1,3");
    let mut bits = 0u64;
    for part in text.split(',') {
        let number = |word: &str| {
            let named = names.iter().position(|name| name.eq_ignore_ascii_case(word));
            let digits = word.len() <= 2 && word.bytes().all(|byte| byte.is_ascii_digit());
            let number = match named {
                // Days of the week are counted from 0, months from 1.
                Some(place) => u8::try_from(place).ok().map(|place| place + least),
                None if digits => word.parse().ok(),
                None => None,
            };
            number.filter(|number| (least..=most).contains(number)).ok_or_else(|| wrong(part))
        };
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => {
                let digits = step.len() <= 2 && step.bytes().all(|byte| byte.is_ascii_digit());
                let step = step.parse::<u8>().ok().filter(|step| digits && *step > 0);
                (range, Some(step.ok_or_else(|| wrong(part))?))
            }
            None => (part, None),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (least, most),
            Some((first, last)) => (number(first)?, number(last)?),
            // `7/10` means nothing that is agreed upon.
            None if step.is_some() => return Err(wrong(part)),
            None => (number(range)?, number(range)?),
        };
        if first > last {
            return Err(wrong(part));
        }
        for value in (first..=last).step_by(step.unwrap_or(1).into()) {
            bits |= 1 << value;
        }
    }
    Ok(bits)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn minutes(text: &str, on: Date) -> Vec<i16> {
        Cron::parse(text).unwrap_or_else(|wrong| panic!("{text}: {wrong}")).minutes_of(on).to_vec()
    }

    #[test]
    fn fields_are_lists_ranges_steps_and_names() {
        let monday = date(2026, 11, 23);
        assert_eq!(minutes("0 9 * * *", monday), [540]);
        assert_eq!(minutes("*/20 9-10 * Nov mon", monday), [540, 560, 580, 600, 620, 640]);
        assert_eq!(minutes("10-50/20 0 23 11 *", monday), [10, 30, 50]);
        assert_eq!(minutes("0 9 * * Tue-Fri", monday), [0; 0]);
        assert_eq!(minutes("0 9 * dec *", monday), [0; 0]);
    }

    #[test]
    fn sunday_is_0_and_7_and_a_range_may_end_in_it() {
        let sunday = date(2026, 11, 22);
        for text in ["0 9 * * 0", "0 9 * * 7", "0 9 * * Sun", "0 9 * * Sun-Tue", "0 9 * * 5-7"] {
            assert_eq!(minutes(text, sunday), [540], "{text}");
        }
    }

    #[test]
    fn a_day_is_meant_by_either_field_when_both_say_something() {
        let (monday, fifteenth) = (date(2026, 11, 23), date(2026, 11, 15));
        for day in [monday, fifteenth] {
            assert_eq!(minutes("0 9 15 * Mon", day), [540]);
        }
        assert_eq!(minutes("0 9 15 * *", monday), [0; 0]);
        assert_eq!(minutes("0 9 * * Mon", fifteenth), [0; 0]);
    }

    #[test]
    fn what_is_not_in_cron_form_is_said_with_its_field() {
        for (text, words) in [
            ("0 9 * *", "five fields"),
            ("0 9 * * * *", "five fields"),
            ("@daily", "five fields"),
            ("60 9 * * *", "minute '60'"),
            ("0 24 * * *", "hour '24'"),
            ("0 9 0 * *", "day of the month '0'"),
            ("0 9 L * *", "day of the month 'L'"),
            ("0 9 * 13 *", "month '13'"),
            ("0 9 * * Fri-Mon", "day of the week 'Fri-Mon'"),
            ("0 9 * * Mo", "day of the week 'Mo'"),
            ("7/10 9 * * *", "minute '7/10'"),
            ("*/0 9 * * *", "minute '*/0'"),
            ("*/+5 9 * * *", "minute '*/+5'"),
            (", 9 * * *", "minute ''"),
            ("* 9 * * *", "opens 60 times a day"),
        ] {
            let said = Cron::parse(text).expect_err(text);
            assert!(said.contains(words), "{text}: {said}");
        }
    }
}
