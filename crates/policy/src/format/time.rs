//! `%START_TIME%`: the civil date of a wall-clock time, in the formats of `strftime` that logs use.

use base::WallTime;

/// A compiled time format.
#[derive(Clone, Debug)]
pub struct TimeFormat(Vec<Part>);

#[derive(Clone, Debug)]
enum Part {
    Literal(Box<[u8]>),
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    Epoch,
    /// So many digits of the fraction of the second.
    Fraction(usize),
}

/// What `%START_TIME%` alone means.
const DEFAULT: &str = "%Y-%m-%dT%H:%M:%S.%3fZ";

impl TimeFormat {
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = match text {
            "" => DEFAULT.to_owned(),
            // Abseil's notation for seconds with a fraction.
            t => t.replace("%E3S", "%S.%3f").replace("%F", "%Y-%m-%d").replace("%T", "%H:%M:%S"),
        };
        let mut parts = Vec::new();
        let mut rest = text.as_str();
        while let Some(at) = rest.find('%') {
            if at > 0 {
                parts.push(Part::Literal(rest.as_bytes()[..at].into()));
            }
            let directive = &rest[at + 1..];
            let digits = directive.bytes().take_while(u8::is_ascii_digit).count();
            let letter = directive.as_bytes().get(digits).copied();
            let count = directive[..digits].parse::<usize>().ok();
            parts.push(match (letter, count) {
                (Some(b'Y'), None) => Part::Year,
                (Some(b'm'), None) => Part::Month,
                (Some(b'd'), None) => Part::Day,
                (Some(b'H'), None) => Part::Hour,
                (Some(b'M'), None) => Part::Minute,
                (Some(b'S'), None) => Part::Second,
                (Some(b's'), None) => Part::Epoch,
                (Some(b'f'), n) if n.unwrap_or(9) <= 9 => Part::Fraction(n.unwrap_or(9)),
                _ => {
                    return Err(format!(
                        "time format '{text}' is not understood at '%{directive}'"
                    ));
                }
            });
            rest = &directive[digits + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.as_bytes().into()));
        }
        Ok(Self(parts))
    }

    pub fn write(&self, time: WallTime, out: &mut Vec<u8>) {
        let seconds = time.0 / 1_000_000_000;
        let (year, month, day) = civil(seconds / 86_400);
        for part in &self.0 {
            match part {
                Part::Literal(text) => out.extend_from_slice(text),
                Part::Year => padded(year, 4, out),
                Part::Month => padded(month, 2, out),
                Part::Day => padded(day, 2, out),
                Part::Hour => padded(seconds / 3600 % 24, 2, out),
                Part::Minute => padded(seconds / 60 % 60, 2, out),
                Part::Second => padded(seconds % 60, 2, out),
                Part::Epoch => super::command::number(seconds, out),
                Part::Fraction(n) => {
                    let fraction = time.0 % 1_000_000_000 / 10u64.pow(9 - *n as u32);
                    padded(fraction, *n, out);
                }
            }
        }
    }
}

/// The date of an HTTP header: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub fn http_date(time: WallTime) -> [u8; 29] {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = time.0 / 1_000_000_000;
    let days = seconds / 86_400;
    let (year, month, day) = civil(days);
    let mut out = Vec::with_capacity(29);
    out.extend_from_slice(DAYS[(days % 7) as usize].as_bytes());
    out.extend_from_slice(b", ");
    padded(day, 2, &mut out);
    out.push(b' ');
    out.extend_from_slice(MONTHS[month as usize - 1].as_bytes());
    out.push(b' ');
    padded(year, 4, &mut out);
    for (separator, n) in
        [(b' ', seconds / 3600 % 24), (b':', seconds / 60 % 60), (b':', seconds % 60)]
    {
        out.push(separator);
        padded(n, 2, &mut out);
    }
    out.extend_from_slice(b" GMT");
    out.try_into().unwrap_or([b' '; 29])
}

fn padded(mut n: u64, width: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + width, b'0');
    for place in out[start..].iter_mut().rev() {
        *place = b'0' + (n % 10) as u8;
        n /= 10;
    }
}

/// Year, month and day of a number of days since 1970 (Howard Hinnant's algorithm).
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_headers() {
        let date = |seconds: u64| http_date(WallTime(seconds * 1_000_000_000));
        assert_eq!(&date(784_111_777), b"Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(&date(951_782_400), b"Tue, 29 Feb 2000 00:00:00 GMT");
    }

    #[test]
    fn times_are_written_as_asked() {
        let table = [
            (0, "", "1970-01-01T00:00:00.000Z"),
            (951_782_400_000_000_000, "", "2000-02-29T00:00:00.000Z"),
            (1_795_269_000_824_000_000, "", "2026-11-21T13:50:00.824Z"),
            (1_795_269_000_824_000_000, "%s.%6f", "1795269000.824000"),
            (1_795_269_000_824_000_000, "%Y/%m/%dT%H:%M:%S%z", ""),
            (1_795_269_000_824_000_000, "%F %T", "2026-11-21 13:50:00"),
        ];
        for (nanos, format, expected) in table {
            let mut out = Vec::new();
            match TimeFormat::parse(format) {
                Ok(f) => f.write(WallTime(nanos), &mut out),
                Err(e) => assert!(expected.is_empty(), "{e}"),
            }
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
