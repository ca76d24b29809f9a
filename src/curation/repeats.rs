//! Finds the pairs that repeat another pair's photo, and the groups that share a photo or an article.

use std::collections::HashMap;

use super::duplicates::Link;
use super::finding::{Finding, Standing};
use super::measure::Picture;
use super::reason::Reason;
use crate::data::{DisjointSets, Row};

/// For each picture the pictures that are the same one, with the links to them.
pub(super) type Alike = HashMap<usize, Vec<(usize, Link)>>;

/// Marks the photos that repeat another pair's. Of several the one that a person kept stays, else the one with the most
/// pixels, else the first. One file in several rows is no repeat: a person wears several articles.
pub(super) fn doubles(
    rows: &[Row],
    places: &[[Option<usize>; 2]],
    pictures: &[Picture],
    first: &[usize],
    alike: &Alike,
    findings: &mut [Finding],
) {
    let photo = |row: usize| places[row][0].filter(|&p| pictures[p].is_ok());
    let mut order: Vec<usize> = (0..rows.len()).filter(|&row| photo(row).is_some()).collect();
    let pixels = |row: usize| {
        let picture = photo(row).and_then(|p| pictures[p].as_ref().ok());
        picture.map_or(0, |p| u64::from(p.width) * u64::from(p.height))
    };
    let rank = |row: usize| match Standing::of(&rows[row]) {
        Standing::Kept => 0,
        Standing::Open if findings[row].reasons.is_empty() => 1,
        Standing::Open | Standing::Excluded => 2,
    };
    order.sort_by_key(|&row| (rank(row), std::cmp::Reverse(pixels(row)), row));
    let stays: Vec<bool> = (0..rows.len()).map(|row| rank(row) < 2).collect();

    let same_article = |one: usize, other: usize| match [one, other].map(|row| places[row][1].map(|p| first[p])) {
        [Some(one), Some(other)] => {
            one == other || alike.get(&one).is_some_and(|near| near.iter().any(|(place, _)| *place == other))
        }
        [one, other] => one == other,
    };
    // Photo (its stand-in) to the pairs that keep it: those of one file.
    let mut kept: HashMap<usize, Vec<usize>> = HashMap::new();
    for row in order {
        let own = first[photo(row).expect("only pairs with photos are in the order")];
        let keepers = kept.get(&own).map_or(&[][..], Vec::as_slice);
        let same_file = keepers.iter().any(|&keeper| places[keeper][0] == places[row][0]);
        let same = keepers.iter().find(|&&keeper| !same_file || same_article(keeper, row));
        let same = same.map(|&keeper| (keeper, "the same pixels".to_owned()));
        let found = same.or_else(|| {
            let near = alike.get(&own).into_iter().flatten().filter(|_| !same_file);
            let linked = near.filter_map(|(other, link)| Some((kept.get(other)?[0], link)));
            let nearest = linked.min_by(|a, b| a.1.difference.total_cmp(&b.1.difference).then(a.0.cmp(&b.0)));
            nearest.map(|(keeper, link)| (keeper, describe(link)))
        });
        match found {
            Some((keeper, text)) => {
                let finding = &mut findings[row];
                finding.duplicate_of = Some(keeper);
                finding.reasons.push((Reason::Duplicate, text));
                finding.reasons.sort_by_key(|(reason, _)| *reason);
                // A person kept it although it repeats another: it may have repeats of its own.
                if Standing::of(&rows[row]) == Standing::Kept {
                    kept.entry(own).or_default().push(row);
                }
            }
            None if stays[row] => {
                kept.entry(own).or_default().push(row);
            }
            None => {}
        }
    }
}

fn describe(link: &Link) -> String {
    let mirrored = if link.mirrored { "mirrored, " } else { "" };
    format!("{mirrored}differs by {:.1} grey levels", link.difference)
}

/// Connects the pairs that share a photo or an article.
pub(super) fn group(places: &[[Option<usize>; 2]], alike: &Alike, findings: &mut [Finding]) {
    // Pairs first, then pictures: the first number of a set is its first pair.
    let count = places.len();
    let pictures = places.iter().flatten().flatten().max().map_or(0, |last| last + 1);
    let mut sets = DisjointSets::new(count + pictures);
    for (row, sides) in places.iter().enumerate() {
        sides.iter().flatten().for_each(|picture| sets.join(row, count + picture));
    }
    for (picture, near) in alike {
        near.iter().for_each(|(other, _)| sets.join(count + picture, count + other));
    }
    for (row, finding) in findings.iter_mut().enumerate() {
        finding.group = sets.first(row);
    }
}
