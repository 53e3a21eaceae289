//! Cron's five fields: minute, hour, day of month, month, day of week; `*`, lists, ranges, steps, names,
//! and `@hourly` and the like. Where both days are restricted, either may fit, as in every cron.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// A date that fits comes within eight years, or never (29 February may skip a century's leap year).
const MOST_DAYS: usize = 366 * 8 + 2;

#[derive(Debug, PartialEq)]
pub struct Schedule {
    /// Bit n is set if n fits.
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    either_day: bool,
}

impl Schedule {
    pub fn parse(text: &str) -> Option<Schedule> {
        let text = match text.trim() {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => other,
        };
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields[..] else { return None };
        let any = |field: &str| field.starts_with(['*', '?']);
        let mut weekday_bits = bits(weekdays, 0, 7, &DAYS, 0)?;
        weekday_bits |= weekday_bits >> 7; // 7 is Sunday too.
        Some(Schedule {
            minutes: bits(minutes, 0, 59, &[], 0)?,
            hours: bits(hours, 0, 23, &[], 0)?,
            days: bits(days, 1, 31, &[], 0)?,
            months: bits(months, 1, 12, &MONTHS, 1)?,
            weekdays: weekday_bits & 0x7f,
            either_day: !any(days) && !any(weekdays),
        })
    }

    /// The first time later than `time`.
    pub fn after(&self, time: Timestamp) -> Option<Timestamp> {
        let start = time.checked_add(SignedDuration::from_secs(60)).ok()?;
        let start = TimeZone::UTC.to_datetime(start);
        let mut date = start.date();
        let mut from = (start.hour(), start.minute());
        for _ in 0..MOST_DAYS {
            if self.fits(date)
                && let Some((hour, minute)) = self.time_from(from)
            {
                let found = DateTime::from_parts(date, jiff::civil::time(hour, minute, 0, 0));
                return TimeZone::UTC.to_timestamp(found).ok();
            }
            date = date.tomorrow().ok()?;
            from = (0, 0);
        }
        None
    }

    /// The last time later than `since` and not later than `now`.
    pub fn latest(&self, since: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let mut found = None;
        // After a long sleep only the recent past matters; a step is at least a minute.
        let window = SignedDuration::from_hours(24 * 40);
        let recent = now.checked_sub(window).unwrap_or(since);
        let mut time =
            if self.after(recent).is_some_and(|t| t <= now) { since.max(recent) } else { since };
        while let Some(next) = self.after(time).filter(|next| *next <= now) {
            found = Some(next);
            time = next;
        }
        found
    }

    fn fits(&self, date: jiff::civil::Date) -> bool {
        let month = has(self.months, date.month());
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        month && if self.either_day { day || weekday } else { day && weekday }
    }

    fn time_from(&self, (hour, minute): (i8, i8)) -> Option<(i8, i8)> {
        let first = |bits: u64, from: i8| (from..60).find(|n| has(bits, *n));
        if has(self.hours, hour)
            && let Some(minute) = first(self.minutes, minute)
        {
            return Some((hour, minute));
        }
        let hour = first(self.hours, hour + 1)?;
        Some((hour, first(self.minutes, 0)?))
    }
}

fn has(bits: u64, number: i8) -> bool {
    u32::try_from(number).is_ok_and(|number| bits >> number & 1 == 1)
}

/// A field's list as bits. Names count from `first_name`.
fn bits(field: &str, low: u32, high: u32, names: &[&str], first_name: u32) -> Option<u64> {
    let number = |text: &str| -> Option<u32> {
        let named = names.iter().position(|name| text.eq_ignore_ascii_case(name));
        let number = match named {
            Some(index) => u32::try_from(index).ok()? + first_name,
            None => text.parse().ok()?,
        };
        (low..=high).contains(&number).then_some(number)
    };
    let mut all = 0;
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step.parse::<usize>().ok().filter(|s| *s > 0)?)),
            None => (part, None),
        };
        let (from, to) = match (range, range.split_once('-')) {
            ("*" | "?", _) => (low, high),
            (_, Some((from, to))) => (number(from)?, number(to)?),
            // `5/15` is from 5 on.
            (single, None) => {
                (number(single)?, if step.is_some() { high } else { number(single)? })
            }
        };
        if from > to {
            return None;
        }
        for n in (from..=to).step_by(step.unwrap_or(1)) {
            all |= 1 << n;
        }
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_time() {
        let table = [
            ("* * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"),
            ("*/15 * * * *", "2026-01-01T00:16:30Z", "2026-01-01T00:30:00Z"),
            ("5/20 3 * * *", "2026-01-01T03:25:00Z", "2026-01-01T03:45:00Z"),
            ("0 9-17 * * mon-fri", "2026-01-02T17:00:00Z", "2026-01-05T09:00:00Z"),
            ("30 4 1,15 * 5", "2026-01-01T05:00:00Z", "2026-01-02T04:30:00Z"),
            ("0 0 29 feb *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("0 0 * * 7", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"),
            ("@monthly", "2026-01-31T23:59:59Z", "2026-02-01T00:00:00Z"),
        ];
        for (text, from, expected) in table {
            let next = Schedule::parse(text).unwrap().after(from.parse().unwrap());
            assert_eq!(next, Some(expected.parse().unwrap()), "{text} after {from}");
        }
        let never = Schedule::parse("0 0 30 2 *").unwrap();
        assert_eq!(never.after("2026-01-01T00:00:00Z".parse().unwrap()), None);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in
            ["", "* * * *", "60 * * * *", "* 24 * * *", "5-1 * * * *", "*/0 * * * *", "x * * * *"]
        {
            assert_eq!(Schedule::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_latest_time_is_found_after_any_sleep() {
        let daily = Schedule::parse("@daily").unwrap();
        let (long_ago, now) = ("2020-01-01T00:00:00Z", "2026-01-01T12:00:00Z");
        let found = daily.latest(long_ago.parse().unwrap(), now.parse().unwrap());
        assert_eq!(found, Some("2026-01-01T00:00:00Z".parse().unwrap()));
        let yearly = Schedule::parse("@yearly").unwrap();
        let now = "2026-06-01T00:00:00Z".parse().unwrap();
        let found = yearly.latest(long_ago.parse().unwrap(), now);
        assert_eq!(found, Some("2026-01-01T00:00:00Z".parse().unwrap()));
    }
}
