//! Distances of a photo's colours to those of an article: the locator's best evidence at the photo's full resolution,
//! where its own layers no longer show the outline.

use tch::{Device, Kind, Tensor};

use crate::native::{exact_products, product};

/// The largest number of the article's places to compare with.
const PLACES: f64 = 768.0;
/// The memory that a band of the photos' rows takes, in bytes. Photos of 128 x 96 are one band; those of 1024 x 1024
/// would take 3.2 GB at once.
const BUDGET: i64 = 64 << 20;
/// As [`BUDGET`], on another device than the CPU: there a band is some launches, whatever its size.
const DEVICE_BUDGET: i64 = 512 << 20;
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
    match human.device() {
        Device::Cpu => within(BUDGET, Pictures::Singly, human, article, region),
        _ => within(DEVICE_BUDGET, Pictures::Together, human, article, region),
    }
}

/// Whether a product is of one picture or of all. One at a time takes less memory, all at once fewer launches on a
/// device. On a CPU the last bits of a product of all would depend on their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pictures {
    Singly,
    Together,
}

/// As [`palette_distance`], with about `budget` bytes of memory at once beside the pictures themselves.
fn within(budget: i64, pictures: Pictures, human: &Tensor, article: &Tensor, region: &Tensor) -> Tensor {
    let (n, _, h, w) = human.size4().expect("[N, 3, H, W]");
    let stride = ((h * w) as f64 / PLACES).sqrt().ceil().max(1.0) as i64;
    // Samples rows and columns of the article: a mean of neighbours would be a colour that it does not have.
    let sparse = |xs: &Tensor| {
        let rows = xs.slice(2, None, None, stride);
        rows.slice(3, None, None, stride).flatten(2, -1)
    };
    let outside: Tensor = (1.0 - sparse(region)) * 1e3; // [N, 1, K]
    let rows = band(n, w, budget, outside.size()[2], pictures);
    tch::no_grad(|| {
        let maps = [1, 3].map(|side| {
            let [pad, k] = [side / 2, side];
            let padded = |xs: &Tensor| xs.replication_pad2d([pad, pad, pad, pad]);
            let described = |xs: &Tensor, stride: i64| xs.im2col([k, k], [1, 1], [0, 0], [stride, stride]);
            let (people, articles) = (padded(human), described(&padded(article), stride)); // [N, 3 k k, K]
            let channels = articles.size()[1] as f64;
            let nearest = match pictures {
                Pictures::Singly => singly(&articles, &outside),
                Pictures::Together => together(&articles, &outside),
            };
            let bands: Vec<Tensor> = (0..h)
                .step_by(rows as usize)
                .map(|top| {
                    let height = rows.min(h - top);
                    let xs = described(&people.narrow(2, top, height + 2 * pad), 1); // [N, 3 k k, height W]
                    nearest(&xs).reshape([n, 1, height, w])
                })
                .collect();
            let squares = Tensor::cat(&bands, 2);
            // The values span 2: a quarter of the squares is in shares of the range.
            let distance = (squares * (0.25 / channels)).clamp_min(NEAR * NEAR).sqrt();
            distance.clamp_max(FAR) * (2.0 / FAR) - 1.0
        });
        Tensor::cat(&maps, 1)
    })
}

/// Computes the squared distance of each column of `xs` to the nearest column of the same picture's article.
type Nearest = Box<dyn Fn(&Tensor) -> Tensor>;

/// The sums over a picture's channels of the squares.
fn squares(xs: &Tensor, channels: i64, keep: bool) -> Tensor {
    xs.square().sum_dim_intlist([channels].as_slice(), keep, Kind::Float)
}

/// One picture's product at a time. All products: |x - y|^2 = |x|^2 + |y|^2 - 2 x y. TF32 would be off by grey levels:
/// the terms nearly cancel.
///
/// # Shapes
/// `articles`: `[N, C, K]`; `outside`: `[N, 1, K]`, added to the distance. The result turns `[N, C, P]` to `[N, P]`.
fn singly(articles: &Tensor, outside: &Tensor) -> Nearest {
    let palettes: Vec<[Tensor; 2]> = (0..articles.size()[0])
        .map(|i| {
            let y = articles.get(i);
            [squares(&y, 0, false) + outside.get(i).get(0), (&y * -2.0).tr()]
        })
        .collect();
    Box::new(move |xs| {
        let nearest = palettes.iter().zip(0..).map(|([own, y], i)| {
            let x = xs.get(i);
            let cross = exact_products(|| product(&x.tr(), y, Some(own))); // [P, K]
            cross.amin([1], false) + squares(&x, 0, false)
        });
        Tensor::stack(&nearest.collect::<Vec<_>>(), 0)
    })
}

/// As [`singly`], with one product of all pictures.
fn together(articles: &Tensor, outside: &Tensor) -> Nearest {
    let own = squares(articles, 1, true) + outside; // [N, 1, K]
    let ys = articles * -2.0;
    Box::new(move |xs| {
        let cross = exact_products(|| own.baddbmm(&xs.transpose(1, 2), &ys, 1.0, 1.0)); // [N, P, K]
        cross.amin([2], false) + squares(xs, 1, false)
    })
}

/// Counts the rows of the photos that `budget` bytes hold at once: distances to all places, of one photo or of all, and
/// of all photos the 3 x 3 surroundings.
fn band(photos: i64, width: i64, budget: i64, places: i64, pictures: Pictures) -> i64 {
    let products = match pictures {
        Pictures::Singly => 1,
        Pictures::Together => photos,
    };
    (budget / (4 * width * (products * places + photos * 27))).max(1)
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
    fn any_budget_gives_the_same_distances() {
        let drawn = |number| {
            let mut t = Tensor::zeros([3, 3, 45, 37], (Kind::Float, Device::Cpu));
            crate::random::fill_normal(&mut t, 0.5, 1, "palette", number);
            t.clamp(-1.0, 1.0)
        };
        let (human, article) = (drawn(0), drawn(1));
        let region = article.narrow(1, 0, 1).gt(0.0).to_kind(Kind::Float);
        let whole = within(1 << 40, Pictures::Singly, &human, &article, &region);
        // One row, some rows that do not divide the height, all.
        for (pictures, budget, rows) in [
            (Pictures::Singly, 1, 1),
            (Pictures::Singly, 2 << 20, 27),
            (Pictures::Singly, BUDGET, 45),
            (Pictures::Together, 1, 1),
            (Pictures::Together, 2 << 20, 10),
            (Pictures::Together, DEVICE_BUDGET, 45),
        ] {
            assert_eq!(band(3, 37, budget, 437, pictures).min(45), rows);
            let apart = (within(budget, pictures, &human, &article, &region) - &whole).abs().max().double_value(&[]);
            assert!(apart < 1e-5, "{pictures:?} {budget}: {apart}");
        }
        // On a CPU the result of a picture has the same bits alone.
        let all = palette_distance(&human, &article, &region);
        for i in 0..3 {
            let [human, article, region] = [&human, &article, &region].map(|xs| xs.narrow(0, i, 1));
            assert_eq!(palette_distance(&human, &article, &region), all.narrow(0, i, 1));
        }
    }

    #[test]
    fn an_article_without_a_region_has_the_largest_distance() {
        let grey = Tensor::zeros([2, 3, 8, 8], (Kind::Float, Device::Cpu));
        let none = Tensor::zeros([2, 1, 8, 8], (Kind::Float, Device::Cpu));
        let maps = palette_distance(&grey, &grey, &none);
        assert_eq!(maps.min().double_value(&[]), 1.0);
    }
}
