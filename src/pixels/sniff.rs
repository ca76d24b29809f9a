//! Names what a file is, where it is no picture that can be read.

use memchr::memmem;

/// Returns what bytes are and what to do, or `None` for those of no known kind.
pub fn what_it_is(bytes: &[u8]) -> Option<String> {
    const AGAIN: &str = "download or copy the picture again";
    if bytes.is_empty() {
        return Some(format!("it is empty: {AGAIN}"));
    }
    if bytes.iter().all(|&byte| byte == 0) {
        return Some(format!("it holds zeros alone, as after a broken copy: {AGAIN}"));
    }
    let start = &bytes[..bytes.len().min(1024)];
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start().to_ascii_lowercase();
    if text.starts_with(b"version https://git-lfs") {
        return Some("it is a Git LFS pointer, not the picture: run `git lfs pull` in its repository".into());
    }
    let named = |names: &[&[u8]]| names.iter().any(|name| text.starts_with(name));
    let says = |word: &[u8]| memmem::find(&text, word).is_some();
    if named(&[b"<svg"]) || (named(&[b"<?xml", b"<!doctype svg"]) && says(b"<svg")) {
        return Some("it is an SVG drawing: export it as PNG first".into());
    }
    if named(&[b"<!doctype html", b"<html", b"<head", b"<body"]) || (text.starts_with(b"<") && says(b"<html")) {
        return Some(format!("it is a web page (HTML), perhaps the error page of a download: {AGAIN}"));
    }
    if named(&[b"<?xml", b"<error"]) {
        return Some(format!("it is an XML text, perhaps the error of a download: {AGAIN}"));
    }
    if named(&[b"{\"", b"[{", b"{\n", b"{\r", b"{ "]) {
        return Some(format!("it is a JSON text, perhaps the error of a download: {AGAIN}"));
    }
    if let Some(kind) = archive(bytes) {
        return Some(format!("it is an archive ({kind}): unpack it and name the pictures inside"));
    }
    if let Some(kind) = video(bytes) {
        return Some(format!("it is a video ({kind}): save one of its frames as a picture"));
    }
    let document = [(b"%PDF".as_slice(), "a PDF document"), (b"%!PS", "a PostScript document")];
    if let Some((_, kind)) = document.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Some(format!("it is {kind}: export its page as a picture"));
    }
    let raw = bytes.starts_with(b"FUJIFILMCCD-RAW") || brand(bytes) == Some(b"crx ");
    if raw {
        return Some("it is a camera's raw file: develop it to a JPEG or TIFF first".into());
    }
    let others: [(&[u8], &str); 6] = [
        (b"\x93NUMPY", "a numpy array"),
        (b"\xff\x0a", "a JPEG XL picture"),
        (b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
        (b"\x76\x2f\x31\x01", "an OpenEXR picture"),
        (b"#?RADIANCE", "a Radiance HDR picture"),
        (b"gimp xcf", "a GIMP project"),
    ];
    if let Some((_, kind)) = others.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Some(format!("it is {kind}: save it as PNG, TIFF or JPEG first"));
    }
    let plain = |&byte: &u8| byte == b'\t' || byte == b'\n' || byte == b'\r' || (32..127).contains(&byte);
    (start.len() > 8 && start.iter().all(plain) && !start.starts_with(b"GIF8"))
        .then(|| format!("it is a text that begins with {:?}", String::from_utf8_lossy(&start[..start.len().min(40)])))
}

/// Returns the name of a picture that only another library reads, with the library's name.
pub fn foreign(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    let others: [(&[u8], &str); 8] = [
        (b"8BPS", "a Photoshop document (PSD)"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"\xff\x4f\xff\x51", "JPEG 2000"),
        (b"\0\0\x01\0", "an icon (ICO)"),
        (b"icns", "an icon (ICNS)"),
        (b"DDS ", "a texture (DDS)"),
        (b"qoif", "QOI"),
        (b"\x01\xda", "an SGI picture"),
    ];
    if let Some((_, kind)) = others.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Some((kind, "Pillow (pip install pillow)"));
    }
    match brand(bytes)? {
        b"avif" | b"avis" => Some(("AVIF", "Pillow 11.3 or newer (pip install -U pillow)")),
        b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"mif1" | b"msf1" => {
            // Some programs name AVIF only behind the common brand.
            match bytes.get(16..64.min(bytes.len())).is_some_and(|rest| memmem::find(rest, b"avif").is_some()) {
                true => Some(("AVIF", "Pillow 11.3 or newer (pip install -U pillow)")),
                false => Some(("HEIC", "pillow-heif (pip install 'cagan[heif]')")),
            }
        }
        _ => None,
    }
}

/// Returns the main brand of a file of boxes, such as MP4 and HEIC.
fn brand(bytes: &[u8]) -> Option<&[u8; 4]> {
    (bytes.get(4..8)? == b"ftyp").then(|| bytes.get(8..12)?.try_into().ok()).flatten()
}

fn archive(bytes: &[u8]) -> Option<&'static str> {
    let kinds: [(&[u8], &str); 8] = [
        (b"PK\x03\x04", "ZIP"),
        (b"PK\x05\x06", "ZIP"),
        (b"\x1f\x8b", "gzip"),
        (b"BZh", "bzip2"),
        (b"\xfd7zXZ\0", "xz"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"7z\xbc\xaf\x27\x1c", "7z"),
        (b"Rar!", "RAR"),
    ];
    let known = kinds.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, kind)| *kind);
    known.or_else(|| (bytes.get(257..262) == Some(b"ustar")).then_some("tar"))
}

fn video(bytes: &[u8]) -> Option<&'static str> {
    match brand(bytes) {
        Some(b"qt  ") => return Some("QuickTime"),
        Some(brand) if foreign(bytes).is_none() && brand != b"crx " => return Some("MP4"),
        _ => {}
    }
    match bytes {
        [0x1a, 0x45, 0xdf, 0xa3, ..] => Some("Matroska or WebM"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'A', b'V', b'I', b' ', ..] => Some("AVI"),
        _ => matches!(bytes.get(4..8), Some(b"moov" | b"mdat" | b"wide")).then_some("QuickTime"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_by_their_content() {
        let cases: [(&[u8], &str); 16] = [
            (b"", "empty"),
            (&[0; 5000], "zeros"),
            (b"<!DOCTYPE html><title>403</title>", "web page (HTML)"),
            (b"\xef\xbb\xbf \n<HTML>", "web page (HTML)"),
            (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code>", "XML"),
            (b"<?xml version='1.0'?>\n<svg/>", "SVG"),
            (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer"),
            (b"{\"message\": \"not found\"}", "JSON"),
            (b"PK\x03\x04\x14\0", "archive (ZIP)"),
            (b"\0\0\0\x18ftypmp42\0\0\0\0", "video (MP4)"),
            (b"\0\0\0\x14ftypqt  \0\0\0\0", "video (QuickTime)"),
            (b"RIFF\0\0\0\0AVI LIST", "video (AVI)"),
            (b"%PDF-1.7", "PDF"),
            (b"FUJIFILMCCD-RAW 0201", "raw"),
            (b"\xff\x0a\xfa\x7f", "JPEG XL"),
            (b"id,human,article\na,b,c\n", "text that begins with \"id,human"),
        ];
        for (bytes, word) in cases {
            let said = what_it_is(bytes).unwrap_or_default();
            assert!(said.contains(word), "{word}: {said:?}");
        }
        assert_eq!(what_it_is(b"\x89PNG\r\n\x1a\n"), None);
        assert_eq!(what_it_is(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"), None);
    }

    #[test]
    fn pictures_of_other_libraries_are_known_by_their_brands() {
        let name = |bytes: &[u8]| foreign(bytes).map(|(name, _)| name);
        assert_eq!(name(b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf"), Some("AVIF"));
        assert_eq!(name(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"), Some("HEIC"));
        assert_eq!(name(b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf"), Some("AVIF"));
        assert_eq!(name(b"8BPS\0\x01\0\0"), Some("a Photoshop document (PSD)"));
        assert_eq!(name(b"\0\0\0\x0cjP  \r\n\x87\n\0\0"), Some("JPEG 2000"));
        assert_eq!(name(b"\0\0\0\x18ftypmp42\0\0\0\0"), None);
        assert_eq!(name(b"\0\0\0\x18ftyp"), None);
    }
}
