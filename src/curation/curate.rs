//! Puts the findings into the list of the pairs.

use std::collections::{HashMap, HashSet};

use super::finding::{Finding, Standing};
use super::inspect::inspect;
use super::options::Options;
use super::reason::Reason;
use crate::data::{DisjointSets, Listing};
use crate::error::Error;

/// Inspects the pairs of a list and fills its columns `group`, `exclude` and `reason`. Rows that a person decided keep
/// their decision, and rows that an earlier call could not look at are judged anew. Nothing is written to disk.
///
/// # Errors
/// [`Error::NotFound`] if no pair could be looked at; an error of `observe`, which is called as by [`inspect`].
pub fn curate<E: From<Error>>(
    listing: &mut Listing,
    options: &Options,
    observe: impl FnMut(&'static str, usize, usize) -> Result<(), E>,
) -> Result<Vec<Finding>, E> {
    reopen(listing);
    let findings = inspect(listing.rows(), options, observe)?;
    let unseen = |finding: &Finding| finding.reasons.iter().any(|(reason, _)| *reason == Reason::Missing);
    if findings.iter().all(unseen) {
        let row = &listing.rows()[0];
        let sources = [&row.human, &row.article].into_iter().flatten();
        let first = sources.map(|source| source.name()).find(|path| !path.is_file()).unwrap_or(listing.folder());
        let what = "file that can be read, and none of any other pair: is the drive mounted?";
        return Err(Error::NotFound { path: first.into(), what }.into());
    }
    listing.add_columns(&["group", "exclude", "reason"]);
    judge(listing, &findings);
    group(listing, &findings);
    Ok(findings)
}

/// Opens the rows that are left out for no other reason than that an earlier call could not look at them.
fn reopen(listing: &mut Listing) {
    for place in 0..listing.rows().len() {
        let row = &listing.rows()[place];
        if !row.exclude || row.reviewed || row.reasons().all(|word| word != Reason::Missing.name()) {
            continue;
        }
        let others: Vec<&str> = row.reasons().filter(|word| *word != Reason::Missing.name()).collect();
        let (words, open) = (others.join(" "), others.is_empty());
        put(listing, place, "reason", &words);
        if open {
            put(listing, place, "exclude", "");
        }
    }
}

/// Excludes the open rows with reasons against them.
fn judge(listing: &mut Listing, findings: &[Finding]) {
    for (place, finding) in findings.iter().enumerate() {
        let row = &listing.rows()[place];
        match Standing::of(row) {
            Standing::Excluded => put(listing, place, "exclude", "1"),
            Standing::Open if !finding.reasons.is_empty() => {
                let mut words: Vec<&str> = row.reasons().collect();
                for (reason, _) in &finding.reasons {
                    if !words.contains(&reason.name()) {
                        words.push(reason.name());
                    }
                }
                let words = words.join(" ");
                put(listing, place, "exclude", "1");
                put(listing, place, "reason", &words);
            }
            Standing::Open | Standing::Kept => put(listing, place, "exclude", ""),
        }
    }
}

/// Names the groups of pairs that share a picture or, already, a name. A group keeps its first name; a new one is
/// called by its first pair.
fn group(listing: &mut Listing, findings: &[Finding]) {
    let mut sets = DisjointSets::new(findings.len());
    let mut named: HashMap<&str, usize> = HashMap::new();
    for (place, (row, finding)) in listing.rows().iter().zip(findings).enumerate() {
        sets.join(place, finding.group);
        if let Some(name) = &row.group {
            sets.join(place, *named.entry(name).or_insert(place));
        }
    }
    let mut taken: HashSet<String> = named.into_keys().map(String::from).collect();
    for members in sets.groups() {
        let rows = listing.rows();
        let name = members.iter().find_map(|&place| rows[place].group.clone()).unwrap_or_else(|| {
            let mut name = if members.len() > 1 { rows[members[0]].id.clone() } else { String::new() };
            while !name.is_empty() && !taken.insert(name.clone()) {
                name.push('+');
            }
            name
        });
        members.iter().for_each(|&place| put(listing, place, "group", &name));
    }
}

fn put(listing: &mut Listing, place: usize, column: &str, text: &str) {
    listing.set(place, column, text).expect("the column takes any such text");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_the_list_and_shared_pictures_are_merged() {
        let folder = tempfile::tempdir().unwrap();
        let list = "id,human,article,group,exclude,reason,reviewed\n\
            a,a,a,,,,\n\
            b,b,b,ann,TRUE,by hand,\n\
            c,c,c,ann,,,1\n\
            d,d,d,,,other,\n\
            e,e,e,,,,\n\
            f,f,f,e,,,\n";
        std::fs::write(folder.path().join("pairs.csv"), list).unwrap();
        let mut listing = Listing::open(folder.path()).unwrap();
        let finding = |group: usize| Finding { group, ..Finding::default() };
        // a shares a picture with c, d with e.
        let mut findings = [0, 1, 0, 3, 3, 5].map(finding);
        findings[2].reasons = vec![(super::super::reason::Reason::Tiny, String::new())];
        findings[3].reasons = vec![(super::super::reason::Reason::Blank, String::new())];
        judge(&mut listing, &findings);
        group(&mut listing, &findings);
        listing.write().unwrap();
        // The name e is taken by f.
        let expected = "id,human,article,group,exclude,reason,reviewed\n\
            a,a,a,ann,,,\n\
            b,b,b,ann,1,by hand,\n\
            c,c,c,ann,,,1\n\
            d,d,d,d,1,other blank,\n\
            e,e,e,d,,,\n\
            f,f,f,e,,,\n";
        assert_eq!(std::fs::read_to_string(listing.path()).unwrap(), expected);
    }
}
