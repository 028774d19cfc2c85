//! The little DER (X.690) that keys and signatures need.

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;
/// `[0] EXPLICIT`, as before the version of a certificate.
pub(crate) const EXPLICIT_0: u8 = 0xa0;

/// A value with its tag and length in front.
pub(crate) fn tagged(tag: u8, content: &[&[u8]]) -> Vec<u8> {
    let length: usize = content.iter().map(|part| part.len()).sum();
    let mut der = Vec::with_capacity(length + 6);
    der.push(tag);
    if let Ok(short @ 0..=0x7f) = u8::try_from(length) {
        der.push(short);
    } else {
        let bytes = length.to_be_bytes();
        let bytes = without_leading_zeros(&bytes);
        der.push(0x80 | u8::try_from(bytes.len()).expect("a length has eight bytes at most"));
        der.extend_from_slice(bytes);
    }
    content.iter().for_each(|part| der.extend_from_slice(part));
    der
}

/// An unsigned number, big-endian with any padding, as the shortest INTEGER.
pub(crate) fn unsigned(number: &[u8]) -> Vec<u8> {
    let number = without_leading_zeros(number);
    // The first bit is the sign; zero itself has one byte.
    let pad: &[u8] = if number.first().is_none_or(|first| first & 0x80 != 0) { &[0] } else { &[] };
    tagged(INTEGER, &[pad, number])
}

pub(crate) fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

/// Takes the first value off `input`, which must have `tag`; its content.
pub(crate) fn take<'a>(input: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let (found, content) = take_any(input)?;
    (found == tag).then_some(content)
}

/// Takes the first value off `input`: its tag and its content.
pub(crate) fn take_any<'a>(input: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (tag, rest) = input.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match *first {
        short @ 0..=0x7f => (usize::from(short), rest),
        // Four bytes of length are more than any key or certificate needs.
        long @ 0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            let length = bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
            (length, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    *input = rest;
    Some((*tag, content))
}

/// The content of the only value in `input`.
pub(crate) fn only(mut input: &[u8], tag: u8) -> Option<&[u8]> {
    let content = take(&mut input, tag)?;
    input.is_empty().then_some(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_short_as_may_be() {
        assert_eq!(unsigned(&[0, 0, 0x7f]), [INTEGER, 1, 0x7f]);
        assert_eq!(unsigned(&[0x80]), [INTEGER, 2, 0, 0x80]);
        assert_eq!(unsigned(&[]), [INTEGER, 1, 0]);
        assert_eq!(unsigned(&[0, 0]), [INTEGER, 1, 0]);
    }

    #[test]
    fn what_is_written_is_read_back_at_every_length() {
        for length in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000] {
            let content = vec![7; length];
            let der = tagged(OCTET_STRING, &[&content]);
            assert_eq!(only(&der, OCTET_STRING), Some(&content[..]), "{length}");
            assert_eq!(only(&der[..der.len() - 1], OCTET_STRING), None, "{length}, cut");
        }
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        for wrong in [
            &[][..],
            &[4],
            &[4, 5, 1],
            &[4, 0x80],
            &[4, 0x84, 0xff, 0xff, 0xff, 0xff, 1],
            &[4, 0x82, 1],
        ] {
            assert_eq!(take_any(&mut &wrong[..]), None, "{wrong:?}");
        }
    }
}
