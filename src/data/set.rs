//! The files of a set and how each is read. Resident and streaming loading share it.

use std::sync::Arc;

use super::draw::{Draw, PictureDraw, Targets};
use super::packed::{Place, Stock};
use super::share::Share;
use crate::config::{Config, Fit};
use crate::error::Result;
use crate::pixels::planes;

/// Humans or articles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Human,
    Article,
}

/// One picture of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct File {
    pub(super) place: Place,
    pub(super) fit: Fit,
}

impl File {
    pub(super) fn new(place: Place, side: Side, config: &Config) -> File {
        let fit = match side {
            Side::Human => config.human_fit,
            Side::Article => config.article_fit,
        };
        File { place, fit }
    }

    /// Decodes the picture at the config's size plus its crop margin.
    ///
    /// # Shapes
    /// `[3, H + margin, W + margin]`.
    pub(super) fn decode(&self, stock: &Stock, config: &Config) -> Result<Vec<u8>> {
        Ok(planes(&*stock.source(self.place).decode()?, loaded_size(config), self.fit))
    }
}

/// Height and width of loaded pictures.
pub fn loaded_size(config: &Config) -> [i64; 2] {
    config.image_size.map(|side| side + config.crop_margin)
}

/// The pairs whose pictures can all be decoded.
#[derive(Debug)]
pub struct Set {
    pub config: Config,
    /// What the files' places stand for.
    pub(super) stock: Arc<Stock>,
    /// The distinct files.
    pub files: Vec<File>,
    /// The place of each pair's human in `files`.
    pub humans: Vec<u32>,
    /// The place of each article in `files`: the pairs' articles, then those without a human.
    pub articles: Vec<u32>,
    pub targets: Targets,
    /// The hash of the pictures and the groups.
    pub fingerprint: String,
    /// The rows of each batch that this process takes.
    pub share: Share,
}

impl Set {
    /// Draws the pictures of a step: the rows of this process. The batch is the same for any number of processes.
    pub fn draw(&self, step: u64) -> Draw {
        let draw = Draw::of_step(&self.config, &self.targets, step);
        draw.of_rows(self.share.rows(self.config.batch_size))
    }

    /// Decodes a file.
    ///
    /// # Errors
    /// As [`super::Source::decode`].
    pub fn decode(&self, file: usize) -> Result<Vec<u8>> {
        self.files[file].decode(&self.stock, &self.config)
    }

    /// Takes the centre crops of these pairs and articles, unmirrored.
    pub fn plain(&self, humans: &[usize], targets: &[usize]) -> Draw {
        let corner = [self.config.crop_margin / 2; 2];
        let draw = |indices: &[usize]| {
            let picture = |&index| PictureDraw { index, flip: false, corner };
            indices.iter().map(picture).collect()
        };
        Draw { human: draw(humans), worn: draw(humans), target: draw(targets), colours: Vec::new() }
    }

    /// Lists the files of a draw with how each is taken: humans, worn articles, targets.
    pub fn pictures<'a>(&'a self, draw: &'a Draw) -> [Vec<(usize, &'a PictureDraw)>; 3] {
        let of = |files: &[u32], draws: &'a [PictureDraw]| -> Vec<(usize, &'a PictureDraw)> {
            draws.iter().map(|draw| (files[draw.index] as usize, draw)).collect()
        };
        [of(&self.humans, &draw.human), of(&self.articles, &draw.worn), of(&self.articles, &draw.target)]
    }

    /// Crops and mirrors a loaded picture, value by value.
    ///
    /// # Shapes
    /// `picture`: `[3, H + margin, W + margin]`, `out`: `[3, H, W]`.
    pub fn cut<T>(&self, picture: &[u8], draw: &PictureDraw, out: &mut [T], value: impl Fn(u8) -> T) {
        let [height, width] = loaded_size(&self.config).map(|side| side as usize);
        let [h, w] = self.config.image_size.map(|side| side as usize);
        let [top, left] = draw.corner.map(|at| at as usize);
        let planes = picture.chunks_exact(height * width).zip(out.chunks_exact_mut(h * w));
        for (from, to) in planes {
            let rows = from.chunks_exact(width).skip(top).zip(to.chunks_exact_mut(w));
            for (from, to) in rows {
                let from = &from[left..left + w];
                match draw.flip {
                    false => (to.iter_mut().zip(from)).for_each(|(to, from)| *to = value(*from)),
                    true => (to.iter_mut().zip(from.iter().rev())).for_each(|(to, from)| *to = value(*from)),
                }
            }
        }
    }
}
