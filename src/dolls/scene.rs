//! Backgrounds: a plain wall, a room, a landscape.

use rand::RngExt;
use rand::seq::IndexedRandom;

use super::canvas::{Canvas, Colour, between, shade};
use super::outlines::{Line, Point, band, ellipse, mapped, star};

/// A kind of background.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Studio,
    Room,
    Hills,
    Beach,
    Wallpaper,
    Confetti,
}

/// One background.
pub struct Scene {
    pub kind: Kind,
    colours: [Colour; 4],
    /// Places of things as shares of the picture.
    places: Vec<[f32; 3]>,
    floor: f32,
}

impl Scene {
    /// Draws a background.
    pub fn draw(rng: &mut impl RngExt) -> Scene {
        use Kind::{Beach, Confetti, Hills, Room, Studio, Wallpaper};
        let kinds = [Studio, Studio, Studio, Room, Room, Hills, Beach, Wallpaper, Confetti];
        let kind = *kinds.choose(rng).expect("there are scenes");
        let mut soft = |low: u8, high: u8| {
            let grey = rng.random_range(low..high);
            [0; 3].map(|_| {
                let value = i32::from(grey) + rng.random_range(-28..=28);
                value.clamp(40, 252) as u8
            })
        };
        let colours = [soft(170, 235), soft(120, 200), soft(110, 225), soft(90, 215)];
        Scene {
            kind,
            colours,
            places: (0..16).map(|_| [0; 3].map(|_| rng.random())).collect(),
            floor: rng.random_range(0.66..0.85),
        }
    }

    /// Paints it over the whole canvas.
    pub fn paint(&self, canvas: &mut Canvas) {
        let [height, width] = canvas.size();
        let [wall, second, third, fourth] = self.colours;
        let map = |[x, y]: Point| [x * width, y * height];
        // Lengths of things that keep their proportions are shares of the height.
        let aspect = height / width;
        let round = |at: Point, radius: f32| ellipse(at, [radius * aspect, radius]);
        let fill = |canvas: &mut Canvas, shape: Vec<Point>, colour: Colour| {
            canvas.fill(&mapped(&[shape], map), colour);
        };
        match self.kind {
            Kind::Studio => {
                canvas.rows(|y| between(shade(wall, 1.12), shade(wall, 0.86), y));
                // The light on the wall.
                for radius in [0.6, 0.53, 0.46, 0.39, 0.32, 0.25] {
                    let light = round([0.5, 0.35], radius);
                    canvas.tint(&mapped(&[light], map), [255; 3], 0.05);
                }
            }
            Kind::Room => {
                canvas.rows(|y| between(shade(wall, 1.05), shade(wall, 0.92), y));
                fill(canvas, vec![[0.0, self.floor], [1.0, self.floor], [1.0, 1.0], [0.0, 1.0]], second);
                let skirting = [self.floor - 0.02, self.floor];
                fill(canvas, band([0.0, skirting[0]], [1.0, skirting[1]]), shade(wall, 1.5));
                let [x, y, _] = self.places[0];
                let (x, y) = (x * 0.72, 0.06 + y * 0.25);
                fill(canvas, band([x, y], [x + 0.28, y + 0.24]), shade(second, 0.6));
                fill(canvas, band([x + 0.02, y + 0.016], [x + 0.26, y + 0.224]), shade(third, 1.3));
                fill(canvas, band([x + 0.02, y + 0.15], [x + 0.26, y + 0.224]), fourth);
                fill(canvas, round([x + 0.17, y + 0.08], 0.035), shade(wall, 1.6));
                self.plant(canvas, &map, aspect);
            }
            Kind::Hills | Kind::Beach => {
                let sky = between(wall, [150, 196, 236], 0.7);
                canvas.rows(|y| between(sky, shade(sky, 1.45), (y / self.floor).min(1.0)));
                let [x, y, _] = self.places[0];
                fill(canvas, round([x, 0.08 + y * 0.2], 0.06), [252, 232, 164]);
                for [x, y, size] in &self.places[1..4] {
                    for (dx, radius) in [(-0.06, 0.025), (0.0, 0.04), (0.06, 0.028)] {
                        let cloud = round([x + dx * aspect, 0.1 + y * 0.3], radius * (0.6 + size));
                        fill(canvas, cloud, shade(sky, 1.75));
                    }
                }
                match self.kind {
                    Kind::Hills => self.hills(canvas, &map, aspect),
                    _ => {
                        let water = between(second, [58, 142, 178], 0.7);
                        let sea = self.floor - 0.16;
                        fill(canvas, band([0.0, sea], [1.0, 1.0]), water);
                        for [x, y, size] in &self.places[4..10] {
                            let y = sea + 0.02 + y * 0.12;
                            fill(canvas, band([x - 0.05, y], [x + 0.1 * size, y + 0.007]), shade(water, 1.4));
                        }
                        let beach = Line::from([0.0, self.floor])
                            .curve([0.5, self.floor - 0.05], [1.0, self.floor + 0.02])
                            .to([1.0, 1.0])
                            .to([0.0, 1.0]);
                        fill(canvas, beach.0, [236, 214, 168]);
                    }
                }
            }
            Kind::Wallpaper => {
                canvas.flood(wall);
                let figure = between(wall, second, 0.6);
                let count = 5 + (self.places[0][0] * 6.0) as i32;
                let step = 1.0 / count as f32;
                let mut shapes = Vec::new();
                for i in 0..=count {
                    let x = i as f32 * step;
                    if self.places[0][1] < 0.5 {
                        shapes.push(band([x, 0.0], [x + step * 0.45, 1.0]));
                    } else {
                        let rows = (count as f32 * aspect) as i32 + 1;
                        for j in 0..=rows {
                            let set_off = if j % 2 == 0 { 0.0 } else { 0.5 * step };
                            let at = [x + set_off, j as f32 * step / aspect];
                            shapes.push(round(at, step * 0.22 / aspect));
                        }
                    }
                }
                canvas.fill(&mapped(&shapes, map), figure);
            }
            Kind::Confetti => {
                canvas.rows(|y| between(wall, shade(second, 1.2), y));
                for (i, [x, y, size]) in self.places.iter().enumerate() {
                    let radius = 0.04 + 0.12 * size;
                    let colour = between([second, third, fourth][i % 3], wall, 0.25);
                    let shape = match i % 4 {
                        0 | 1 => round([*x, *y], radius),
                        2 => band([x - radius, y - radius * 0.6], [x + radius, y + radius * 0.6]),
                        _ => {
                            let star = star([0.0; 2], radius);
                            star.iter().map(|[dx, dy]| [x + dx * aspect, y + dy]).collect()
                        }
                    };
                    fill(canvas, shape, colour);
                }
            }
        }
    }

    fn hills(&self, canvas: &mut Canvas, map: &impl Fn(Point) -> Point, aspect: f32) {
        let green = between(self.colours[1], [98, 150, 88], 0.7);
        for (i, light) in [1.35, 1.15, 1.0].into_iter().enumerate() {
            let [a, b, _] = self.places[4 + i];
            let y = self.floor - 0.14 + 0.12 * i as f32;
            let hill = Line::from([0.0, y - 0.12 * a])
                .curve([0.25 + 0.2 * b, y - 0.25 * b], [0.6, y])
                .curve([0.8, y + 0.05], [1.0, y - 0.15 * b])
                .to([1.0, 1.0])
                .to([0.0, 1.0]);
            canvas.fill(&mapped(&[hill.0], map), shade(green, light));
        }
        for [x, y, size] in &self.places[8..11] {
            let foot = self.floor + 0.1 * y;
            let high = 0.08 + 0.08 * size;
            let trunk = band([x - 0.012 * aspect, foot - high], [x + 0.012 * aspect, foot]);
            canvas.fill(&mapped(&[trunk], map), [110, 82, 60]);
            let crown = ellipse([*x, foot - high - 0.04], [0.07 * aspect, 0.085]);
            canvas.fill(&mapped(&[crown], map), shade(green, 0.72));
        }
    }

    fn plant(&self, canvas: &mut Canvas, map: &impl Fn(Point) -> Point, aspect: f32) {
        let [side, tall, _] = self.places[1];
        let x = if side < 0.5 { 0.08 } else { 0.92 };
        let foot = self.floor + 0.06;
        let green = between(self.colours[2], [62, 128, 84], 0.75);
        for (dx, dy) in [(-0.07, 0.2), (0.07, 0.22), (-0.035, 0.3), (0.035, 0.27), (0.0, 0.34)] {
            let (dx, dy) = (dx * aspect, dy * (0.7 + 0.6 * tall));
            let leaf = Line::from([x, foot - 0.08])
                .curve([x + dx * 0.2 - 0.03, foot - dy * 0.7], [x + dx, foot - dy])
                .curve([x + dx * 1.2 + 0.03, foot - dy * 0.6], [x, foot - 0.08]);
            canvas.fill(&mapped(&[leaf.0], map), shade(green, 0.8 + dy));
        }
        let wide = 0.05 * aspect;
        let pot =
            vec![[x - wide, foot - 0.09], [x + wide, foot - 0.09], [x + wide * 0.7, foot], [x - wide * 0.7, foot]];
        canvas.fill(&mapped(&[pot], map), shade(self.colours[3], 0.8));
    }
}
