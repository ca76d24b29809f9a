//! Finds which way up a picture is, wherever programs write it: EXIF, PNG's raw profiles, XMP. Reads them as Pillow's
//! `ImageOps.exif_transpose` does.

use image::metadata::Orientation;
use memchr::memmem;

/// What a file says about itself beside its pixels.
#[derive(Default)]
pub struct Notes {
    /// The EXIF data, with or without the prefix `Exif\0\0`.
    pub exif: Option<Vec<u8>>,
    /// The XMP packet.
    pub xmp: Option<Vec<u8>>,
}

impl Notes {
    /// Returns the orientation: EXIF's if it has one, else that of XMP.
    pub fn orientation(&self) -> Orientation {
        let exif = self.exif.as_deref().and_then(in_exif);
        let value = exif.or_else(|| self.xmp.as_deref().and_then(in_xmp).map(u32::from)).unwrap_or(1);
        from_number(value)
    }
}

/// Turns EXIF's number into an orientation. Numbers without a meaning turn nothing.
pub fn from_number(value: u32) -> Orientation {
    u8::try_from(value).ok().and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms)
}

/// Reads the orientation entry of the first directory.
fn in_exif(mut data: &[u8]) -> Option<u32> {
    const ORIENTATION: u16 = 0x112;
    while let Some(rest) = data.strip_prefix(b"Exif\0\0") {
        data = rest;
    }
    let big = match data.get(..4)? {
        b"MM\0*" => true,
        b"II*\0" => false,
        _ => return None,
    };
    let short = |at: usize| -> Option<u16> {
        let bytes = data.get(at..at + 2)?.try_into().expect("two bytes");
        Some(if big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    };
    let long = |at: usize| Some(if big { (short(at)?, short(at + 2)?) } else { (short(at + 2)?, short(at)?) });
    let long = |at: usize| long(at).map(|(high, low)| u32::from(high) << 16 | u32::from(low));
    let start = long(4)? as usize;
    let mut found = None;
    for entry in 0..usize::from(short(start)?) {
        let at = start + 2 + 12 * entry;
        let Some(tag) = short(at) else { break };
        if tag == ORIENTATION && long(at + 4)? == 1 {
            // Of the types SHORT and LONG, signed or not.
            found = match short(at + 2)? {
                3 | 8 => short(at + 8).map(u32::from),
                4 | 9 => long(at + 8),
                _ => None,
            };
        }
    }
    found
}

/// Finds `tiff:Orientation="6"` or `tiff:Orientation>6<`.
fn in_xmp(packet: &[u8]) -> Option<u8> {
    const NAME: &[u8] = b"tiff:Orientation";
    memmem::find_iter(packet, NAME).find_map(|at| {
        let rest = &packet[at + NAME.len()..];
        let value = rest.strip_prefix(b"=\"").or_else(|| rest.strip_prefix(b">"))?;
        value.first().filter(|digit| digit.is_ascii_digit()).map(|digit| digit - b'0')
    })
}

/// Decodes a raw profile of PNG's text chunks: a line break, a name, a length, then hexadecimal lines.
pub fn raw_profile(text: &[u8]) -> Option<Vec<u8>> {
    let body: Vec<u8> = (text.split(|&byte| byte == b'\n').skip(3).flatten().copied())
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    let digit = |byte: u8| (byte as char).to_digit(16).map(|value| value as u8);
    body.chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exif(prefix: &[u8], kind: u16, value: &[u8; 4]) -> Notes {
        let header = [b"MM\0*\0\0\0\x08\0\x01\x01\x12\0".as_slice(), &[kind as u8], b"\0\0\0\x01", value].concat();
        Notes { exif: Some([prefix, &header].concat()), xmp: None }
    }

    #[test]
    fn exif_is_read_behind_any_prefix_and_as_short_or_long() {
        for prefix in [b"".as_slice(), b"Exif\0\0", b"Exif\0\0Exif\0\0"] {
            assert_eq!(exif(prefix, 3, b"\0\x06\0\0").orientation(), Orientation::Rotate90);
            assert_eq!(exif(prefix, 4, b"\0\0\0\x03").orientation(), Orientation::Rotate180);
        }
        // Nine turns nothing, and so do a text and the half of a directory.
        assert_eq!(exif(b"", 3, b"\0\x09\0\0").orientation(), Orientation::NoTransforms);
        assert_eq!(exif(b"", 2, b"\0\x06\0\0").orientation(), Orientation::NoTransforms);
        let cut = Notes { exif: Some(b"MM\0*\0\0\0\x08\0\x01\x01".to_vec()), xmp: None };
        assert_eq!(cut.orientation(), Orientation::NoTransforms);
    }

    #[test]
    fn xmp_is_read_where_exif_is_silent() {
        for packet in [b"<a tiff:Orientation=\"8\"/>".as_slice(), b"<tiff:Orientation>8</tiff:Orientation>"] {
            let silent = Notes { exif: None, xmp: Some(packet.to_vec()) };
            assert_eq!(silent.orientation(), Orientation::Rotate270);
            let both = Notes { xmp: Some(packet.to_vec()), ..exif(b"", 3, b"\0\x01\0\0") };
            assert_eq!(both.orientation(), Orientation::NoTransforms);
        }
    }

    #[test]
    fn any_bytes_have_an_orientation() {
        let mut state = 3_u64;
        let mut draw = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        let whole = exif(b"Exif\0\0", 3, b"\0\x06\0\0").exif.unwrap();
        let packet = b"<a tiff:Orientation=\"8\"/><tiff:Orientation>8</tiff:Orientation>";
        let profile = b"\nexif\n      3\n45\n78 69\n";
        let mut turned = 0;
        for _ in 0..300_000 {
            let mut changed = |bytes: &[u8]| {
                let mut bytes = bytes.to_vec();
                for _ in 0..draw(3) + 1 {
                    let at = draw(bytes.len());
                    bytes[at] = draw(256) as u8;
                }
                bytes.truncate(bytes.len() - draw(2) * draw(bytes.len()));
                bytes
            };
            let notes = Notes { exif: Some(changed(&whole)), xmp: Some(changed(packet)) };
            turned += usize::from(notes.orientation() != Orientation::NoTransforms);
            let _ = raw_profile(&changed(profile));
        }
        assert!(turned > 10_000, "{turned}");
    }

    #[test]
    fn raw_profiles_are_hexadecimal() {
        assert_eq!(raw_profile(b"\nexif\n      3\n45\n78 69\n"), Some(b"Exi".to_vec()));
        assert_eq!(raw_profile(b"\nexif\n3\n4"), None);
        assert_eq!(raw_profile(b"\nexif\n3\nxx"), None);
    }
}
