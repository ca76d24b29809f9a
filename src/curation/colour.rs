//! A picture's colours, in Oklab (Ottosson, "A perceptual color space for image processing", 2020).

use std::sync::LazyLock;

/// The histogram's step of lightness.
const LIGHT_STEP: f32 = 0.1;
/// The histogram's step of both colour axes.
const CHROMA_STEP: f32 = 0.02;
/// Bins of lightness that a colour may differ by: between a studio and a street light changes more than hue.
const LIGHT_BINS: i16 = 2;
/// Bins of each colour axis that a colour may differ by.
const CHROMA_BINS: i16 = 1;
/// The share of a photo from which a colour counts fully. Small, since a garment may be.
const ENOUGH: f32 = 0.02;

/// Lightness of 0 to 1, green-red and blue-yellow of about -0.3 to 0.3.
pub type Oklab = [f32; 3];

static LINEAR: LazyLock<[f32; 256]> = LazyLock::new(|| {
    std::array::from_fn(|byte| {
        let c = byte as f32 / 255.0;
        match c <= 0.04045 {
            true => c / 12.92,
            false => ((c + 0.055) / 1.055).powf(2.4),
        }
    })
});

/// Converts an sRGB pixel.
pub fn oklab([r, g, b]: [u8; 3]) -> Oklab {
    let [r, g, b] = [r, g, b].map(|c| LINEAR[c as usize]);
    let l = (0.412_221_47 * r + 0.536_332_55 * g + 0.051_445_995 * b).cbrt();
    let m = (0.211_903_5 * r + 0.680_699_5 * g + 0.107_396_96 * b).cbrt();
    let s = (0.088_302_46 * r + 0.281_718_85 * g + 0.629_978_7 * b).cbrt();
    [
        0.210_454_26 * l + 0.793_617_8 * m - 0.004_072_047 * s,
        1.977_998_5 * l - 2.428_592_2 * m + 0.450_593_7 * s,
        0.025_904_037 * l + 0.782_771_77 * m - 0.808_675_77 * s,
    ]
}

/// Returns the distance of two colours. That of black and white is 1.
pub fn distance(a: Oklab, b: Oklab) -> f32 {
    let square: f32 = a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum();
    square.sqrt()
}

/// A histogram's bins that are not empty, with their shares. The shares add up to 1.
pub type Palette = Vec<([i16; 3], f32)>;

/// Counts colours.
pub fn palette(colours: &[Oklab]) -> Palette {
    let bin = |[l, a, b]: Oklab| {
        let steps = [l / LIGHT_STEP, a / CHROMA_STEP, b / CHROMA_STEP];
        steps.map(|step| step.floor() as i16)
    };
    let mut bins: Vec<[i16; 3]> = colours.iter().map(|&colour| bin(colour)).collect();
    bins.sort_unstable();
    bins.chunk_by(|a, b| a == b).map(|run| (run[0], run.len() as f32 / colours.len() as f32)).collect()
}

/// Returns the share of the article's colours that occur in the photo: 1 = all of them, 0 = none.
pub fn shared(article: &Palette, human: &Palette) -> f32 {
    let near = |a: [i16; 3], b: [i16; 3]| {
        (a[0] - b[0]).abs() <= LIGHT_BINS && (a[1] - b[1]).abs() <= CHROMA_BINS && (a[2] - b[2]).abs() <= CHROMA_BINS
    };
    let held = |bin: [i16; 3]| -> f32 {
        let there = human.iter().filter(|(other, _)| near(bin, *other));
        there.map(|(_, share)| share).sum()
    };
    let shares = article.iter();
    shares.map(|&(bin, share)| share * (held(bin) / ENOUGH).min(1.0)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_is_one_and_grey_has_no_colour() {
        let [l, a, b] = oklab([255; 3]);
        assert!((l - 1.0).abs() < 1e-3 && a.abs() < 1e-3 && b.abs() < 1e-3);
        assert!((distance(oklab([0; 3]), oklab([255; 3])) - 1.0).abs() < 1e-3);
        // Ottosson's own table: linear red is (0.6279, 0.2249, 0.1258).
        let red = oklab([255, 0, 0]);
        assert!(distance(red, [0.6279, 0.2249, 0.1258]) < 1e-3);
    }

    #[test]
    fn a_share_counts_what_is_there() {
        let (red, blue) = (oklab([200, 20, 30]), oklab([20, 40, 200]));
        let article = palette(&[red, red, red, blue]);
        assert_eq!(shared(&article, &palette(&[blue])), 0.25);
        assert_eq!(shared(&article, &palette(&[red, blue])), 1.0);
        assert_eq!(shared(&article, &palette(&[oklab([128; 3])])), 0.0);
        // Red on one pixel in a hundred: half of the share that counts fully.
        let mut photo = vec![blue; 99];
        photo.push(red);
        assert!((shared(&article, &palette(&photo)) - (0.25 + 0.75 * 0.5)).abs() < 1e-5);
    }
}
