//! Distribution points: which part of a CA's certificates a list is about (RFC 5280 §4.2.1.13, §5.2.5).

use aws_lc_rs::digest;

use crate::identity::Der;

/// Names of distribution points that are looked at, of a certificate or of a list.
const NAMES_MAX: usize = 32;

/// The longest URI that is fetched.
const URI_BYTES_MAX: usize = 2_048;

const SEQUENCE: u8 = 0x30;
const DISTRIBUTION_POINT: u8 = 0xa0;
const FULL_NAME: u8 = 0xa0;
const URI: u8 = 0x86;

/// The name of a distribution point: a part of the SHA-256 of a GeneralName, so that it can be kept
/// with every connection. Names are compared byte by byte.
pub(crate) type PointName = [u8; 16];

/// The names of a DistributionPointName: `content` is what stands within its \[0\]. `None` if it is
/// malformed, or a name relative to the CRL's issuer.
pub(crate) fn point_names(content: &[u8]) -> Option<Box<[PointName]>> {
    let mut names = Vec::new();
    general_names(content, |_, whole| names.push(point_name(whole)))?;
    Some(names.into())
}

/// The names of all distribution points in a certificate's extension. A point that cannot be read has
/// none: a list that is for certain points only does not speak of the certificate then.
pub(crate) fn of_certificate(extension: &[u8]) -> Box<[PointName]> {
    let mut names = Vec::new();
    points(extension, |_, whole| {
        if names.len() < NAMES_MAX {
            names.push(point_name(whole));
        }
    });
    names.into()
}

/// Where the lists of a certificate's distribution points can be fetched by HTTP.
pub(crate) fn uris(extension: &[u8], mut take: impl FnMut(&str)) {
    points(extension, |tag, whole| {
        let text = Der(whole).expect(tag, "").map_or(&[][..], |content| content.0);
        let is_plain = text.len() <= URI_BYTES_MAX && text.iter().all(u8::is_ascii_graphic);
        if tag == URI
            && is_plain
            && let Ok(text) = std::str::from_utf8(text)
            && ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme))
        {
            take(text);
        }
    });
}

/// Each GeneralName of each full name in a CRLDistributionPoints.
fn points(extension: &[u8], mut take: impl FnMut(u8, &[u8])) -> Option<()> {
    let mut outer = Der(extension);
    let mut all = outer.expect(SEQUENCE, "").ok()?;
    while !all.0.is_empty() {
        let mut point = all.expect(SEQUENCE, "").ok()?;
        if point.next_tag() == Some(DISTRIBUTION_POINT) {
            let name = point.expect(DISTRIBUTION_POINT, "").ok()?;
            if name.next_tag() == Some(FULL_NAME) {
                general_names(name.0, &mut take)?;
            }
        }
    }
    Some(())
}

fn general_names(content: &[u8], mut take: impl FnMut(u8, &[u8])) -> Option<()> {
    let mut choice = Der(content);
    let mut names = choice.expect(FULL_NAME, "").ok()?;
    choice.end("").ok()?;
    let mut count = 0;
    while !names.0.is_empty() {
        let (tag, _, whole) = names.element()?;
        take(tag, whole);
        count += 1;
        if count > NAMES_MAX {
            return None;
        }
    }
    (count > 0).then_some(())
}

fn point_name(whole: &[u8]) -> PointName {
    let hash = digest::digest(&digest::SHA256, whole);
    std::array::from_fn(|index| hash.as_ref()[index])
}
