//! Distances of a photo's colours to those of an article: the locator's best evidence at the photo's full resolution,
//! where its own layers no longer show the outline.

use tch::{Kind, Tensor};

/// The largest number of the article's places to compare with.
const PLACES: f64 = 768.0;
/// Distances are clamped to this share of the range from black to white.
const FAR: f64 = 0.5;
/// Distances are clamped to one grey level: below that the square root would amplify rounding.
const NEAR: f64 = 1.0 / 255.0;

/// Computes the distance of each pixel's colour, and of its 3 x 3 surroundings, to the nearest of the article's: root
/// mean squares, from -1 (the same) to 1 (FAR or more). Has no gradient.
///
/// # Shapes
/// `human`, `article`: `[N, 3, H, W]` in [-1, 1]; `region`: `[N, 1, H, W]`, the article's own. Returns `[N, 2, H, W]`,
/// float32.
pub fn palette_distance(human: &Tensor, article: &Tensor, region: &Tensor) -> Tensor {
    let (n, _, h, w) = human.size4().expect("[N, 3, H, W]");
    let stride = ((h * w) as f64 / PLACES).sqrt().ceil().max(1.0) as usize;
    // Samples rows and columns of the article: a mean of neighbours would be a colour that it does not have.
    let sparse = |xs: &Tensor| {
        let rows = xs.slice(2, None, None, stride as i64);
        rows.slice(3, None, None, stride as i64).flatten(2, -1)
    };
    let outside: Tensor = (1.0 - sparse(region)) * 1e3; // [N, 1, K]
    tch::no_grad(|| {
        let maps = [1, 3].map(|side| {
            let described = |xs: &Tensor| {
                let [pad, k] = [side / 2, side];
                let padded = xs.replication_pad2d([pad, pad, pad, pad]);
                padded.im2col([k, k], [1, 1], [0, 0], [1, 1]).reshape([n, -1, h, w]) // [N, 3 k k, H, W]
            };
            let (people, articles) = (described(human), sparse(&described(article)));
            let channels = people.size()[1] as f64;
            let nearest: Vec<Tensor> = (0..n)
                .map(|i| {
                    // |x - y|^2 = |x|^2 + |y|^2 - 2 x y, one picture at a time to save memory.
                    let (x, y) = (people.get(i).flatten(1, -1), articles.get(i));
                    let own = y.square().sum_dim_intlist([0].as_slice(), true, Kind::Float);
                    let cross = (own + outside.get(i)).addmm(&x.transpose(0, 1), &(&y * -2.0)); // [H W, K]
                    let least = cross.amin([1], false);
                    least + x.square().sum_dim_intlist([0].as_slice(), false, Kind::Float)
                })
                .collect();
            let squares = Tensor::stack(&nearest, 0).reshape([n, 1, h, w]);
            // The values span 2: a quarter of the squares is in shares of the range.
            let distance = (squares * (0.25 / channels)).clamp_min(NEAR * NEAR).sqrt();
            distance.clamp_max(FAR) * (2.0 / FAR) - 1.0
        });
        Tensor::cat(&maps, 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn distances_by_hand() {
        let options = (Kind::Float, Device::Cpu);
        let human = Tensor::full([1, 3, 4, 4], 1.0, options);
        let _ = human.narrow(2, 0, 2).fill_(0.2);
        let article = Tensor::full([1, 3, 4, 4], 0.2, options);
        let _ = article.narrow(3, 2, 2).fill_(1.0);
        let region = Tensor::ones([1, 1, 4, 4], options);
        let _ = region.narrow(3, 2, 2).fill_(0.0);
        let maps = palette_distance(&human, &article, &region);
        assert_eq!(maps.size(), [1, 2, 4, 4]);
        // The upper rows have the article's colour. The lower ones are 0.4 of the range away: 0.4 / 0.5 * 2 - 1.
        assert!((maps.double_value(&[0, 0, 0, 3]) + 1.0 - 4.0 / 255.0).abs() < 1e-5);
        assert!((maps.double_value(&[0, 0, 3, 0]) - 0.6).abs() < 1e-4);
        // The second row has a white row below it: 9 pixels, 3 of them 0.4 away from the nearest patch of the article,
        // at the left edge, which is all 0.2: sqrt(3 / 9) * 0.4 / 0.5 * 2 - 1.
        let expected = (1.0f64 / 3.0).sqrt() * 1.6 - 1.0;
        let found = maps.double_value(&[0, 1, 1, 1]);
        assert!((found - expected).abs() < 1e-3, "{found} {expected}");
    }

    #[test]
    fn an_article_without_a_region_has_the_largest_distance() {
        let grey = Tensor::zeros([2, 3, 8, 8], (Kind::Float, Device::Cpu));
        let none = Tensor::zeros([2, 1, 8, 8], (Kind::Float, Device::Cpu));
        let maps = palette_distance(&grey, &grey, &none);
        assert_eq!(maps.min().double_value(&[]), 1.0);
    }
}
