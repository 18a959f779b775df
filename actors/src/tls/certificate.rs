//! The few fields of an X.509 certificate that the server uses itself (RFC 5280, section 4.1):
//!
//! ```text
//!  Certificate ::= SEQUENCE { tbsCertificate SEQUENCE { [0] version, serialNumber INTEGER, signature SEQUENCE,
//!    issuer SEQUENCE, validity SEQUENCE { notBefore, notAfter }, subject SEQUENCE, subjectPublicKeyInfo SEQUENCE,
//!    [3] extensions } ... }
//! ```
//!
//! It reads certificates of peers, so any bytes may come: every length is checked, and what does not fit is nothing.

/// What INFO shows of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Hexadecimal digits.
    pub serial: String,
    /// Unix seconds.
    pub not_before: i64,
    pub not_after: i64,
}

/// Names a certificate gives its owner.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// The subject's common name.
    pub common: Option<Vec<u8>>,
    /// Uniform resource identifiers among the alternative names.
    pub uris: Vec<Vec<u8>>,
}

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const OBJECT_ID: u8 = 0x06;
const OCTETS: u8 = 0x04;
const UTC_TIME: u8 = 0x17;
const GENERAL_TIME: u8 = 0x18;
const EXTENSIONS: u8 = 0xa3;
const URI: u8 = 0x86;
const ID_COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];
const ID_ALTERNATIVE_NAMES: [u8; 3] = [0x55, 0x1d, 0x11];

/// Splits one element off: its tag, its contents, and what follows.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..0x80 => (usize::from(first), rest),
        _ => {
            let count = usize::from(first & 0x7f);
            let digits = rest.get(..count).filter(|_| (1..=4).contains(&count))?;
            (digits.iter().fold(0, |n, d| n << 8 | usize::from(*d)), &rest[count..])
        }
    };
    Some((tag, rest.get(..length)?, rest.get(length..)?))
}

fn expect(bytes: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    element(bytes).filter(|(tag, ..)| *tag == wanted).map(|(_, contents, rest)| (contents, rest))
}

fn elements(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (tag, contents, after) = element(rest)?;
        rest = after;
        Some((tag, contents))
    })
}

struct Fields<'a> {
    serial: &'a [u8],
    validity: &'a [u8],
    subject: &'a [u8],
    extensions: &'a [u8],
}

fn fields(certificate: &[u8]) -> Option<Fields<'_>> {
    let (outer, _) = expect(certificate, SEQUENCE)?;
    let (body, _) = expect(outer, SEQUENCE)?;
    let body = match element(body)? {
        (0xa0, _, rest) => rest,
        _ => body,
    };
    let (serial, rest) = expect(body, INTEGER)?;
    let (_, rest) = expect(rest, SEQUENCE)?;
    let (_, rest) = expect(rest, SEQUENCE)?;
    let (validity, rest) = expect(rest, SEQUENCE)?;
    let (subject, rest) = expect(rest, SEQUENCE)?;
    let (_, rest) = expect(rest, SEQUENCE)?;
    let extensions = elements(rest).find(|(tag, _)| *tag == EXTENSIONS).map_or(&[][..], |(_, all)| all);
    Some(Fields { serial, validity, subject, extensions })
}

/// Serial number and validity.
pub fn facts(certificate: &[u8]) -> Option<Facts> {
    let fields = fields(certificate)?;
    let serial = fields.serial.iter().skip_while(|b| **b == 0).map(|b| format!("{b:02X}")).collect();
    let mut times = elements(fields.validity);
    let (from, until) = (times.next()?, times.next()?);
    Some(Facts { serial, not_before: time(from.0, from.1)?, not_after: time(until.0, until.1)? })
}

/// The names of the certificate's owner.
pub fn names(certificate: &[u8]) -> Names {
    let Some(fields) = fields(certificate) else { return Names::default() };
    let common = elements(fields.subject)
        .filter(|(tag, _)| *tag == SET)
        .flat_map(|(_, set)| elements(set))
        .find_map(|(_, attribute)| {
            let (id, value) = expect(attribute, OBJECT_ID)?;
            (id == ID_COMMON_NAME).then(|| element(value).map(|(_, name, _)| name.to_vec()))?
        });
    let list = expect(fields.extensions, SEQUENCE).map_or(&[][..], |(list, _)| list);
    let uris = elements(list)
        .filter_map(|(_, extension)| {
            let (id, rest) = expect(extension, OBJECT_ID)?;
            if id != ID_ALTERNATIVE_NAMES {
                return None;
            }
            let (_, octets) = elements(rest).find(|(tag, _)| *tag == OCTETS)?;
            expect(octets, SEQUENCE).map(|(names, _)| names)
        })
        .flat_map(elements)
        .filter(|(tag, _)| *tag == URI)
        .map(|(_, uri)| uri.to_vec())
        .collect();
    Names { common, uris }
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ` as Unix seconds.
fn time(tag: u8, text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let year: i64 = text.get(..2)?.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, text.get(2..)?)
        }
        GENERAL_TIME => (text.get(..4)?.parse().ok()?, text.get(4..)?),
        _ => return None,
    };
    let number = |at: usize| rest.get(at..at + 2)?.parse::<i64>().ok();
    let (month, day) = (number(0)?, number(2)?);
    // Days since 1970 by the civil calendar (Howard Hinnant's algorithm).
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    Some(days * 86_400 + number(4)? * 3600 + number(6)? * 60 + number(8)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_a_certificate_are_found() {
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("params");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "org");
        params.distinguished_name.push(rcgen::DnType::CommonName, "alice");
        params.subject_alt_names.push(rcgen::SanType::URI("urn:x:bob".try_into().expect("ascii")));
        params.not_after = rcgen::date_time_ymd(2040, 2, 29);
        params.serial_number = Some(rcgen::SerialNumber::from(vec![0x12, 0xab]));
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let found = names(certificate.der());
        assert_eq!(found.common.as_deref(), Some(b"alice".as_slice()));
        assert_eq!(found.uris, [b"urn:x:bob".to_vec()]);
        let facts = facts(certificate.der()).expect("facts");
        assert_eq!((facts.serial.as_str(), facts.not_after), ("12AB", 2_214_086_400));
        // Cut anywhere, it is less, but never a fault.
        for end in 0..certificate.der().len() {
            names(&certificate.der()[..end]);
            super::facts(&certificate.der()[..end]);
        }
    }

    #[test]
    fn times_are_read_in_both_forms() {
        assert_eq!(time(UTC_TIME, b"700101000000Z"), Some(0));
        assert_eq!(time(GENERAL_TIME, b"20000229123456Z"), Some(951_827_696));
        assert_eq!(time(UTC_TIME, b"7001"), None);
        assert_eq!(time(UTC_TIME, b"xx0101000000Z"), None);
    }
}
