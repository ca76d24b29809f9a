//! Judges every pair: its own pictures, then whether they belong together, then the other pairs.

use std::collections::HashMap;

use rayon::prelude::*;

use super::colour::shared;
use super::duplicates::{Likeness, links};
use super::finding::Finding;
use super::measure::{Fault, Kind, Measured, Picture, measure};
use super::options::Options;
use super::reason::Reason;
use super::repeats::{Alike, doubles, group};
use crate::data::{Row, Source};
use crate::error::Error;

/// Pictures measured between two reports of progress.
const PART: usize = 128;

/// Measures all pictures and judges all pairs.
///
/// Calls `observe` with the stage ("measure", then "compare"), the pictures done and their total.
///
/// # Errors
/// An error of `observe`.
pub fn inspect<'a, E>(
    rows: &'a [Row],
    options: &Options,
    mut observe: impl FnMut(&'static str, usize, usize) -> Result<(), E>,
) -> Result<Vec<Finding>, E> {
    // Each file once, even if several pairs name it.
    let mut jobs: Vec<(Kind, &Source)> = Vec::new();
    let mut known = HashMap::new();
    let mut place = |kind, picture: &'a Option<Source>| {
        let picture = picture.as_ref()?;
        Some(*known.entry((kind, picture)).or_insert_with(|| {
            jobs.push((kind, picture));
            jobs.len() - 1
        }))
    };
    let mut places: Vec<[Option<usize>; 2]> = Vec::with_capacity(rows.len());
    for row in rows {
        places.push([place(Kind::Human, &row.human), place(Kind::Article, &row.article)]);
    }

    let mut pictures: Vec<Picture> = Vec::with_capacity(jobs.len());
    for part in jobs.chunks(PART) {
        observe("measure", pictures.len(), jobs.len())?;
        pictures.par_extend(part.par_iter().map(|(kind, picture)| measure(picture, *kind).map_err(fault)));
    }
    observe("measure", jobs.len(), jobs.len())?;

    let mut findings: Vec<Finding> = Vec::with_capacity(rows.len());
    for sides in &places {
        let [human, article] = sides.map(|place| place.map(|p| &pictures[p]));
        findings.push(Finding { reasons: judge(human, article, options), ..Finding::default() });
    }

    let mut alike = Alike::new();
    // The first picture with the same pixels stands in for each: it has all their links.
    let mut first: Vec<usize> = (0..jobs.len()).collect();
    let mut compared = 0;
    for kind in [Kind::Human, Kind::Article] {
        let chosen: Vec<usize> =
            (0..jobs.len()).filter(|&p| jobs[p].0 == kind && comparable(&pictures[p], options)).collect();
        let measured: Vec<&Measured> = chosen.iter().filter_map(|&p| pictures[p].as_ref().ok()).collect();
        let found =
            links(&measured, Likeness::of(kind, options), |done, _| observe("compare", compared + done, jobs.len()))?;
        compared += chosen.len();
        for link in found {
            let (a, b) = (chosen[link.earlier], chosen[link.later]);
            if link.equal {
                first[b] = a;
                continue;
            }
            alike.entry(a).or_default().push((b, link));
            alike.entry(b).or_default().push((a, link));
        }
    }
    observe("compare", jobs.len(), jobs.len())?;

    doubles(rows, &places, &pictures, &first, &alike, &mut findings);
    let shown: Vec<_> = places.iter().map(|sides| sides.map(|p| p.map(|p| first[p]))).collect();
    group(&shown, &alike, &mut findings);
    Ok(findings)
}

/// An error's text without the path, which the row names already.
fn fault(error: Error) -> Fault {
    let seen = !matches!(error, Error::NotFound { .. } | Error::Io { .. });
    let text = match error {
        Error::Content { message, .. } => message,
        Error::NotFound { what, .. } => format!("no such {what}"),
        Error::Io { source, .. } => source.to_string(),
        other => other.to_string(),
    };
    Fault { text, seen }
}

/// Whether a picture can be compared. Blank pictures all look the same.
fn comparable(picture: &Picture, options: &Options) -> bool {
    picture.as_ref().is_ok_and(|p| p.spread >= options.min_spread)
}

/// Judges a pair without looking at others.
fn judge(human: Option<&Picture>, article: Option<&Picture>, options: &Options) -> Vec<(Reason, String)> {
    let sides = [("human", human), ("article", article)];
    let unseen: Vec<_> = (sides.iter())
        .filter_map(|(name, side)| match side {
            Some(Err(fault)) if !fault.seen => Some((Reason::Missing, format!("{name}: {}", fault.text))),
            _ => None,
        })
        .collect();
    // Half of a pair says nothing about it.
    if !unseen.is_empty() {
        return unseen;
    }
    let mut found = Vec::new();
    for (name, side, missing) in [("human", human, Reason::NoHuman), ("article", article, Reason::NoArticle)] {
        let picture = match side {
            None => {
                found.push((missing, format!("{name}: expected a picture, got none")));
                continue;
            }
            Some(Err(fault)) => {
                found.push((Reason::Unreadable, format!("{name}: {}", fault.text)));
                continue;
            }
            Some(Ok(picture)) => picture,
        };
        let (w, h) = (picture.width, picture.height);
        if w.min(h) < options.min_side {
            let text = format!("{name}: {w} x {h} pixels, expected {} or more", options.min_side);
            found.push((Reason::Tiny, text));
        }
        let aspect = f64::from(w.max(h)) / f64::from(w.min(h));
        if aspect > options.max_aspect {
            let text = format!("{name}: {w} x {h} pixels, {aspect:.1} to 1");
            found.push((Reason::Aspect, text));
        }
        if picture.spread < options.min_spread {
            let text = format!("{name}: brightness varies by {:.1} grey levels", picture.spread);
            found.push((Reason::Blank, text));
        } else if name == "article" && picture.plain < options.min_plain {
            let text = format!("article: {:.0} % of its border is plain", picture.plain * 100.0);
            found.push((Reason::NotPackshot, text));
        }
    }
    if let (Some(Ok(human)), Some(Ok(article))) = (human, article)
        && found.is_empty()
        && let (Some(worn), Some(seen)) = (&article.colours, &human.colours)
    {
        let share = f64::from(shared(worn, seen));
        if share < options.min_colours {
            let text = format!("the photo holds {:.0} % of the article's colours", share * 100.0);
            found.push((Reason::WrongPair, text));
        }
    }
    found.sort_by_key(|(reason, _)| *reason);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{GenericImageView, Rgb, RgbImage};
    use std::path::Path;

    /// A photo of waves with a block of the garment's colour in the middle. `seed` moves the waves.
    fn photo(seed: u32, garment: [u8; 3], side: u32) -> RgbImage {
        RgbImage::from_fn(side, side, |x, y| {
            let (u, v, s) = (x as f32 / side as f32, y as f32 / side as f32, seed as f32);
            if (0.35..0.65).contains(&u) && (0.3..0.8).contains(&v) {
                return Rgb(garment);
            }
            let wave = 128.0 + 100.0 * (u * (9.0 + 3.0 * s)).sin() * (v * (4.0 + 5.0 * s)).cos();
            Rgb([wave as u8; 3])
        })
    }

    /// A garment on white. `seed` moves its hem.
    fn packshot(seed: u32, garment: [u8; 3]) -> RgbImage {
        RgbImage::from_fn(100, 100, |x, y| {
            let inside = (20..80).contains(&x) && (20..50 + 7 * seed).contains(&y);
            Rgb(if inside { garment } else { [255; 3] })
        })
    }

    const RED: [u8; 3] = [200, 30, 40];
    const BLUE: [u8; 3] = [30, 60, 200];
    const GREEN: [u8; 3] = [20, 150, 60];

    fn row(folder: &Path, human: &str, article: &str) -> Row {
        let file = |name: &str| (!name.is_empty()).then(|| Source::File(folder.join(name)));
        Row { human: file(human), article: file(article), ..Row::default() }
    }

    fn found(rows: &[Row]) -> Vec<Finding> {
        inspect(rows, &Options::default(), |_, _, _| Ok::<(), ()>(())).unwrap()
    }

    fn names(finding: &Finding) -> Vec<&'static str> {
        finding.reasons.iter().map(|(reason, _)| reason.name()).collect()
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let save = |name: &str, picture: RgbImage| picture.save(folder.path().join(name)).unwrap();
        save("red.png", photo(1, RED, 120));
        save("red_copy.png", photo(1, RED, 120));
        save("red_large.png", photo(1, RED, 160));
        save("blue.png", photo(3, BLUE, 120));
        save("red_article.png", packshot(1, RED));
        save("blue_article.png", packshot(3, BLUE));
        save("green_article.png", packshot(2, GREEN));
        save("long.png", RgbImage::from_fn(500, 100, |x, _| Rgb([x as u8; 3])));
        save("tiny.png", packshot(1, RED).view(0, 0, 30, 30).to_image());
        save("blank.png", RgbImage::from_pixel(90, 90, Rgb([9; 3])));
        std::fs::write(folder.path().join("broken.png"), b"no picture").unwrap();
        folder
    }

    #[test]
    fn each_pair_gets_its_reasons() {
        let folder = folder();
        let row = |human, article| row(folder.path(), human, article);
        let findings = found(&[
            row("red.png", "red_article.png"),
            row("blue.png", "green_article.png"),
            row("blue.png", "broken.png"),
            row("gone.png", "blue_article.png"),
            row("long.png", "tiny.png"),
            row("red.png", "blank.png"),
            row("", "red_article.png"),
            row("blue.png", ""),
            row("blue.png", "red.png"),
        ]);
        let all: Vec<_> = findings.iter().map(names).collect();
        assert_eq!(all[0], Vec::<&str>::new());
        assert_eq!(all[1], ["wrong_pair"]);
        assert_eq!(all[2], ["unreadable"]);
        assert_eq!(findings[3].reasons, [(Reason::Missing, "human: no such file or folder".to_owned())]);
        assert_eq!(all[4][..2], ["tiny", "aspect"]);
        // One file in two rows is a person in two articles.
        assert_eq!(all[5], ["blank"]);
        assert_eq!(all[6], ["no_human"]);
        assert_eq!(all[7], ["no_article"]);
        assert_eq!(all[8], ["not_packshot"]);
        assert_eq!(findings[4].reasons[0].1, "article: 30 x 30 pixels, expected 64 or more");
    }

    #[test]
    fn the_photo_that_a_person_kept_stays_else_the_larger_one() {
        let folder = folder();
        let mut rows = vec![
            row(folder.path(), "red.png", "red_article.png"),
            row(folder.path(), "red_large.png", "red_article.png"),
            row(folder.path(), "blue.png", "blue_article.png"),
        ];
        let findings = found(&rows);
        let of = |findings: &[Finding]| findings.iter().map(|f| f.duplicate_of).collect::<Vec<_>>();
        assert_eq!(of(&findings), [Some(1), None, None]);
        assert_eq!(findings.iter().map(|f| f.group).collect::<Vec<_>>(), [0, 0, 2]);
        rows[0].reviewed = true;
        assert_eq!(of(&found(&rows)), [None, Some(0), None]);
        // A copy has its original's links.
        rows[0].reviewed = false;
        let mut more = rows.clone();
        more.push(row(folder.path(), "red_copy.png", "red_article.png"));
        assert_eq!(of(&found(&more)), [Some(1), None, None, Some(1)]);
        // No pair is a duplicate of one that is left out.
        rows[1].exclude = true;
        assert_eq!(of(&found(&rows)), [None, Some(0), None]);
    }

    #[test]
    fn an_observer_sees_both_stages_and_can_stop_them() {
        let folder = folder();
        let rows = [row(folder.path(), "red.png", "red_article.png")];
        let mut seen = Vec::new();
        inspect(&rows, &Options::default(), |stage, done, all| {
            seen.push((stage, done, all));
            Ok::<(), ()>(())
        })
        .unwrap();
        assert_eq!(seen.first(), Some(&("measure", 0, 2)));
        assert_eq!(seen.last(), Some(&("compare", 2, 2)));
        for stop in ["measure", "compare"] {
            let stopped =
                inspect(&rows, &Options::default(), |stage, _, _| if stage == stop { Err(stage) } else { Ok(()) });
            assert_eq!(stopped, Err(stop));
        }
    }
}
