//! A person with the worn article, as a swapper knows them before the target is given.

use std::sync::{Arc, OnceLock};

use image::RgbImage;
use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};
use crate::native::sent;
use crate::networks::kisekae;

/// A person and the article that the person wears, prepared once for any number of targets: [`Swapper::look`] makes it
/// and [`Swapper::dress`] takes it.
///
/// With `kisekae` it holds where the worn article is and the person's frame, more than half of a swap's work. The other
/// networks mix all pictures in their first layer: it holds the pictures alone. It belongs to one snapshot.
///
/// [`Swapper::look`]: super::Swapper::look
/// [`Swapper::dress`]: super::Swapper::dress
#[derive(Clone, Debug)]
pub struct Look {
    /// The photo.
    pub photo: Arc<RgbImage>,
    /// The photo as the networks see it, `3 * H * W` bytes.
    pub(super) human: Vec<u8>,
    pub(super) worn: Worn,
    /// Which weights and sizes it was made with.
    pub(super) mark: u128,
}

/// What is kept of the worn article.
#[derive(Clone, Debug)]
pub(super) enum Worn {
    /// Its picture as the networks see it, `3 * H * W` bytes.
    Picture(Vec<u8>),
    /// Where it is.
    Located(Located),
}

/// The numbers of a [`kisekae::Look`].
#[derive(Clone, Debug)]
pub(super) struct Located {
    /// Where the article is, `H * W`.
    located: Vec<f32>,
    /// The person's frame, 3 x 3.
    body: Vec<f32>,
    /// Widened, enclosed, slopes and offsets, `4 * H * W`: they follow from the photo and `located`.
    rest: OnceLock<Vec<f32>>,
}

/// What a [`Look`] is stored as: see [`Look::parts`] and [`Look::of_parts`].
#[derive(Clone, Debug, PartialEq)]
pub struct LookParts {
    /// The photo as the networks see it, `3 * H * W` bytes.
    pub human: Vec<u8>,
    /// The worn article as the networks see it, from networks that do not locate it.
    pub worn: Option<Vec<u8>>,
    /// Where the worn article is, `H * W` numbers, and the person's frame, 9.
    pub located: Option<[Vec<f32>; 2]>,
    /// Which weights and sizes it was made with.
    pub mark: u128,
}

impl Located {
    /// Takes the looks of a batch apart.
    pub(super) fn of(look: &kisekae::Look) -> Vec<Located> {
        let kisekae::Look { located, body, old, enclosed, edges: [slope, offset] } = look;
        let rows = |xs: &Tensor| {
            let numbers = numbers(xs);
            let each = numbers.len() / xs.size()[0] as usize;
            numbers.chunks(each).map(<[f32]>::to_vec).collect::<Vec<_>>()
        };
        let rest = rows(&Tensor::cat(&[old, enclosed, slope, offset], 1));
        let parts = rows(located).into_iter().zip(rows(body)).zip(rest);
        parts.map(|((located, body), rest)| Located { located, body, rest: rest.into() }).collect()
    }

    /// Puts them together again. `human` are their photos as the networks see them, `[N, 3, H, W]` in [-1, 1].
    pub(super) fn batch(looks: &[&Located], human: &Tensor) -> kisekae::Look {
        let (height, width, device) = (human.size()[2], human.size()[3], human.device());
        let all = |pick: &dyn Fn(&Located) -> Vec<f32>| {
            let numbers: Vec<f32> = looks.iter().flat_map(|look| pick(look)).collect();
            Tensor::from_slice(&numbers)
        };
        let layers = |xs: Tensor, k: i64| xs.reshape([-1, k, height, width]);
        let located = sent(&layers(all(&|look| look.located.clone()), 1), device);
        let body = sent(&all(&|look| look.body.clone()).reshape([-1, 3, 3]), device);
        for (i, look) in (0..).zip(looks) {
            look.rest.get_or_init(|| {
                let one = |xs: &Tensor| xs.narrow(0, i, 1);
                let made = kisekae::Look::of(&one(human), one(&located), one(&body));
                let [made] = &mut Located::of(&made)[..] else { unreachable!("one look") };
                made.rest.take().expect("it is computed")
            });
        }
        let rest = sent(&layers(all(&|look| look.rest.get().expect("just computed").clone()), 4), device);
        let layer = |k: i64| rest.narrow(1, k, 1).contiguous();
        kisekae::Look { located, body, old: layer(0), enclosed: layer(1), edges: [layer(2), layer(3)] }
    }
}

impl Look {
    /// The bytes that it holds.
    pub fn bytes(&self) -> usize {
        let worn = match &self.worn {
            Worn::Picture(bytes) => bytes.len(),
            // Five layers.
            Worn::Located(located) => 4 * (5 * located.located.len() + located.body.len()),
        };
        self.photo.as_raw().len() + self.human.len() + worn
    }

    /// Counts the pixels of the photo.
    pub fn pixels(&self) -> u64 {
        u64::from(self.photo.width()) * u64::from(self.photo.height())
    }

    /// Returns what it can be made of again beside the photo.
    pub fn parts(&self) -> LookParts {
        let (worn, located) = match &self.worn {
            Worn::Picture(bytes) => (Some(bytes.clone()), None),
            Worn::Located(found) => (None, Some([found.located.clone(), found.body.clone()])),
        };
        LookParts { human: self.human.clone(), worn, located, mark: self.mark }
    }

    /// Makes it of its photo and [`Look::parts`].
    ///
    /// # Errors
    /// [`Error::Content`] for parts that do not fit each other.
    pub fn of_parts(photo: RgbImage, parts: LookParts) -> Result<Look> {
        let LookParts { human, worn, located, mark } = parts;
        let area = human.len() / 3;
        let worn = match (worn, located) {
            (Some(bytes), None) if bytes.len() == human.len() => Worn::Picture(bytes),
            (None, Some([located, body])) if located.len() == area && body.len() == 9 => {
                Worn::Located(Located { located, body, rest: OnceLock::new() })
            }
            _ => return Err(Error::content("look", "expected parts of one size, got others")),
        };
        Ok(Look { photo: photo.into(), human, worn, mark })
    }
}

/// Equal looks were made of the same pictures by the same weights, to the bit.
impl PartialEq for Look {
    fn eq(&self, other: &Self) -> bool {
        self.photo == other.photo && self.parts() == other.parts()
    }
}

fn numbers(xs: &Tensor) -> Vec<f32> {
    let xs = xs.to_device(Device::Cpu).to_kind(Kind::Float).contiguous();
    let mut out = vec![0f32; xs.numel()];
    xs.copy_data(&mut out, xs.numel());
    out
}
