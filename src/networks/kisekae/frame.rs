//! Frames: where an article lies in its picture, and where garments sit on a person. The product of both is the map of
//! any article onto any person. The worn article, where it is known, corrects the person's.

use tch::{Device, Kind, Tensor};

use super::blocks::{Block, Size, Stride, places};
use super::finer::at_level;
use crate::networks::parameters::{Init, Path, ReadAs};
use crate::networks::plain::leaky_relu;

/// The channels of the widest layers, and of the layer before the numbers.
const HIDDEN: i64 = 64;
/// The slope of negative values in the layer before the numbers.
const LEAKY: f64 = 0.2;
/// The scale of an article's turn, in radians.
const TURN: f64 = 0.3;

/// An encoder of one picture to a few numbers.
#[derive(Debug)]
struct Numbers {
    /// A halving block for each level, and after all but the first one that keeps the size.
    down: Vec<(Block, Option<Block>)>,
    /// Weight and bias.
    layers: [[Tensor; 2]; 2],
    /// How often pictures are halved before: frames need no detail.
    finer: usize,
    rows: Rows,
}

/// How linear layers take the rows of a batch on a CPU.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rows {
    /// As one matrix.
    Together,
    /// One after the other: a product's last bits depend on its number of rows.
    Apart,
}

impl Numbers {
    /// State-dict names `down.<level>.*`, `keep.<level>.*` from level 1 on, `hidden.weight`, `hidden.bias`,
    /// `out.weight`, `out.bias`. The first numbers are 0.
    fn new(path: &Path, c_in: i64, count: i64, size: Size, picture: [i64; 2]) -> Self {
        let channels = |k: usize| (size.narrow << k).min(HIDDEN);
        let (down, keep) = (path.sub("down"), path.sub("keep"));
        let cells: i64 = picture.iter().map(|side| side >> (size.finer + size.levels)).product();
        let last = channels(size.levels - 1);
        let layer = |name: &str, c_in: i64, c_out: i64, init: Init| {
            let at = path.sub(name);
            let weight = at.declare("weight", &[c_out, c_in], init, ReadAs::Float32);
            [weight, at.declare("bias", &[c_out], Init::Zeros, ReadAs::Float32)]
        };
        let c_of = |k: usize| if k == 0 { c_in + 2 } else { channels(k - 1) };
        Numbers {
            down: (0..size.levels)
                .map(|k| {
                    let halve = Block::new(&down.sub(k), Stride::Halve, c_of(k), channels(k));
                    let more = (k > 0).then(|| Block::new(&keep.sub(k), Stride::Keep, channels(k), channels(k)));
                    (halve, more)
                })
                .collect(),
            layers: [layer("hidden", last * cells, HIDDEN, Init::He), layer("out", HIDDEN, count, Init::Zeros)],
            finer: size.finer,
            rows: Rows::Together,
        }
    }

    /// # Shapes
    /// `xs`: `[N, c_in, H, W]`. Returns `[N, count]`, float32.
    fn forward(&self, xs: &Tensor) -> Tensor {
        let xs = at_level(xs, 0, self.finer);
        let (n, _, h, w) = xs.size4().expect("[N, C, H, W]");
        let mut xs = Tensor::cat(&[xs.shallow_clone(), places(&xs).expand([n, 2, h, w], false)], 1);
        for (halve, more) in &self.down {
            xs = halve.forward(&xs);
            if let Some(more) = more {
                xs = more.forward(&xs);
            }
        }
        let flat = xs.contiguous().flatten(1, -1).to_kind(Kind::Float);
        if self.rows == Rows::Apart && flat.device() == Device::Cpu {
            let rows: Vec<Tensor> = flat.split(1, 0).iter().map(|row| self.last(row)).collect();
            return Tensor::cat(&rows, 0);
        }
        self.last(&flat)
    }

    /// The linear layers.
    fn last(&self, flat: &Tensor) -> Tensor {
        let [[weight, bias], out] = &self.layers;
        // Plain ReLUs can all die while the numbers are far off.
        let hidden = leaky_relu(&flat.linear(weight, Some(bias)), LEAKY);
        hidden.linear(&out[0], Some(&out[1]))
    }
}

/// Both frames, and the correction of the person's.
#[derive(Debug)]
pub struct Frames {
    article: Numbers,
    person: Numbers,
    fit: Numbers,
}

impl Frames {
    /// State-dict names `article.*`, `person.*`, `fit.*`, each as an encoder of convolutions and two linear
    /// layers.
    pub fn new(path: &Path, size: Size, picture: [i64; 2]) -> Self {
        Frames {
            // The article and its region.
            article: Numbers::new(&path.sub("article"), 3 + 1, 4, size, picture),
            // The photo, and where something is worn.
            person: Numbers::new(&path.sub("person"), 3 + 1, 6, size, picture),
            // The photo, the worn article and its outline as the frames move them, where it is worn.
            fit: Numbers::new(&path.sub("fit"), 3 + 3 + 1 + 1, 6, size, picture),
        }
    }

    /// Makes the frames of each picture independent of the others in the batch.
    pub fn apart(&mut self) {
        [&mut self.article, &mut self.person, &mut self.fit].into_iter().for_each(|numbers| numbers.rows = Rows::Apart);
    }

    /// Computes an article's frame: a similarity from the garments' common frame to its picture.
    ///
    /// # Shapes
    /// `article`: `[N, 3, H, W]` in [-1, 1]; `region`: `[N, 1, H, W]`. Returns `[N, 3, 3]`.
    pub fn article(&self, article: &Tensor, region: &Tensor) -> Tensor {
        let numbers = self.article.forward(&Tensor::cat(&[article, region], 1));
        let aspect = article.size()[2] as f64 / article.size()[3] as f64;
        let number = |k: i64| numbers.select(1, k);
        let (scale, turn) = (number(0).exp(), number(1) * TURN);
        let (cos, sin) = (&scale * turn.cos(), &scale * turn.sin());
        let rows = [&cos, &(&sin * -aspect), &number(2), &(&sin * (1.0 / aspect)), &cos, &number(3)];
        square(&Tensor::stack(&rows, 1).reshape([-1, 2, 3]))
    }

    /// Computes a person's frame: an affine map from the photo to the garments' common frame. It has learned from people
    /// in garments that are not theirs, so what they wear tells it nothing about another garment.
    ///
    /// # Shapes
    /// `human`: `[N, 3, H, W]` in [-1, 1]; `mask`: `[N, 1, H, W]`, 0 or 1, where something is worn. Returns `[N, 3, 3]`.
    pub fn person(&self, human: &Tensor, mask: &Tensor) -> Tensor {
        near_identity(&self.person.forward(&Tensor::cat(&[human, mask], 1)))
    }

    /// Computes the correction of a person's frame: an affine map of the photo onto itself, after which the worn
    /// article lies better.
    ///
    /// # Shapes
    /// `human`, `warped`: `[N, 3, H, W]` in [-1, 1], the photo and the worn article as the frames move it; `outline`,
    /// `mask`: `[N, 1, H, W]`, the moved article's outline and where it is worn. Returns `[N, 3, 3]`.
    pub fn fit(&self, human: &Tensor, warped: &Tensor, outline: &Tensor, mask: &Tensor) -> Tensor {
        near_identity(&self.fit.forward(&Tensor::cat(&[human, warped, outline, mask], 1)))
    }
}

/// Turns six numbers, `[N, 6]`, into a map: 0 is the identity. Returns `[N, 3, 3]`.
fn near_identity(numbers: &Tensor) -> Tensor {
    square(&(numbers.reshape([-1, 2, 3]) + Tensor::eye_m(2, 3, (Kind::Float, numbers.device()))))
}

/// Adds the row (0, 0, 1) to maps `[N, 2, 3]`.
pub fn square(maps: &Tensor) -> Tensor {
    // Made on the device: a copy of the host's numbers would wait for it.
    let row = Tensor::eye(3, (Kind::Float, maps.device())).narrow(0, 2, 1).expand([maps.size()[0], 1, 3], false);
    Tensor::cat(&[maps, &row], 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Precision;
    use crate::networks::parameters::Parameters;

    #[test]
    fn the_first_frames_change_nothing_and_an_articles_is_a_similarity_in_pixels() {
        let size = Size { narrow: 16, levels: 3, finer: 0 };
        let build = |path: &Path| Frames::new(path, size, [32, 24]);
        let (frames, mut parameters) = Parameters::build(build, Device::Cpu, Precision::Fp32, 0, "test");
        let picture = Tensor::rand([2, 4, 32, 24], (Kind::Float, Device::Cpu));
        let (colours, region) = (picture.narrow(1, 0, 3), picture.narrow(1, 3, 1));
        let same = Tensor::eye(3, (Kind::Float, Device::Cpu)).expand([2, 3, 3], false);
        let fit = frames.fit(&colours, &colours, &region, &region);
        for frame in [frames.article(&colours, &region), frames.person(&colours, &region), fit] {
            assert_eq!(frame, same);
        }
        let bias: Vec<_> = parameters.named(&parameters.values).into_iter().collect();
        let (_, bias) = bias.into_iter().find(|(name, _)| name == "article.out.bias").expect("the bias");
        tch::no_grad(|| bias.shallow_clone().copy_(&Tensor::from_slice(&[2f32.ln(), 0.5, 0.1, -0.2])));
        parameters.changed();
        let frame = frames.article(&colours, &region).get(0);
        let at = |row: i64, column: i64| frame.double_value(&[row, column]);
        // From halves of 32 x 24 to pixels: rows by 16 and 12.
        let pixels = [[at(0, 0), at(0, 1) * 12.0 / 16.0], [at(1, 0) * 16.0 / 12.0, at(1, 1)]];
        let (sin, cos) = (0.5f64 * TURN).sin_cos();
        let wanted = [[2.0 * cos, -2.0 * sin], [2.0 * sin, 2.0 * cos]];
        for (got, wanted) in pixels.as_flattened().iter().zip(wanted.as_flattened()) {
            assert!((got - wanted).abs() < 1e-5, "{pixels:?}");
        }
        assert!((at(0, 2) - 0.1).abs() < 1e-6 && (at(1, 2) + 0.2).abs() < 1e-6);
    }
}
