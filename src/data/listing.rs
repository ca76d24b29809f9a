//! The reader of `pairs.csv`: which pairs there are, in whose words.

use std::collections::BTreeMap;
use std::path::Path;

use csv::StringRecord;

use super::layouts::Row;
use crate::error::{AtPath, Error, Result};

const REQUIRED: [&str; 3] = ["id", "human", "article"];
const OPTIONAL: [&str; 4] = ["group", "split", "exclude", "reason"];

/// Reads `pairs.csv`: the columns id, human, article, and optionally group, split, exclude and reason, in any order,
/// with any others beside them. Paths are relative to the folder. An empty cell of human or article means that there is
/// none.
///
/// # Errors
/// [`Error::Content`] with file and line for a column that is missing or comes twice, a ragged row, an empty or
/// repeated id, and an exclude that is neither yes nor no.
pub fn read(csv: &Path) -> Result<Vec<Row>> {
    let bytes = std::fs::read(csv).at(csv)?;
    let folder = csv.parent().unwrap_or(Path::new(""));
    parse(&bytes, folder).map_err(|message| Error::content(csv, message))
}

/// Parses as [`read`] does.
///
/// ```
/// let rows = cagan::data::parse_csv(b"id,human,article\na,h/1.jpg,a/1.jpg\n", "shop".as_ref())?;
/// assert_eq!(rows[0].human.as_deref(), Some("shop/h/1.jpg".as_ref()));
/// assert_eq!(cagan::data::parse_csv(b"id,human\n", "".as_ref()).unwrap_err(), "expected the columns id, human, article, got id, human");
/// # Ok::<(), String>(())
/// ```
///
/// # Errors
/// What is wrong, without the file's name.
pub fn parse(bytes: &[u8], folder: &Path) -> std::result::Result<Vec<Row>, String> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        // A byte order mark is what spreadsheets put before the first name.
        .from_reader(bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes));
    let headers = reader.headers().map_err(|e| e.to_string())?.clone();
    let column = |name: &str| -> std::result::Result<Option<usize>, String> {
        let mut places = (headers.iter().enumerate()).filter(|(_, header)| *header == name);
        let place = places.next();
        match places.next() {
            Some(_) => Err(format!("expected one column {name}, got two")),
            None => Ok(place.map(|(i, _)| i)),
        }
    };
    let mut required = [0; 3];
    for (place, name) in required.iter_mut().zip(REQUIRED) {
        *place = column(name)?.ok_or_else(|| {
            let got = headers.iter().collect::<Vec<_>>().join(", ");
            format!("expected the columns id, human, article, got {got}")
        })?;
    }
    let mut optional = [None; 4];
    for (place, name) in optional.iter_mut().zip(OPTIONAL) {
        *place = column(name)?;
    }
    let mut rows: Vec<Row> = Vec::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut record = StringRecord::new();
    while reader.read_record(&mut record).map_err(|e| e.to_string())? {
        // Where the record begins: a quoted cell may span lines.
        let line = record.position().map_or(0, |position| position.line() as usize);
        let cell = |place: usize| (!record[place].is_empty()).then(|| record[place].to_owned());
        let [id, human, article] = required.map(cell);
        let [group, split, exclude, reason] = optional.map(|place| place.and_then(cell));
        let id = id.ok_or_else(|| format!("line {line}: expected a value for id, got none"))?;
        let excluded = match exclude.as_deref().map(str::to_ascii_lowercase).as_deref() {
            None | Some("0" | "false" | "no") => None,
            Some("1" | "true" | "yes" | "x") => Some(reason.unwrap_or_default()),
            Some(_) => {
                let got = exclude.unwrap_or_default();
                return Err(format!("line {line}: exclude: expected 1 or 0 or nothing, got `{got}`"));
            }
        };
        if let Some(first) = seen.insert(id.clone(), line) {
            return Err(format!("line {line}: id `{id}` stands in line {first} already"));
        }
        rows.push(Row {
            id,
            human: human.map(|path| folder.join(path)),
            article: article.map(|path| folder.join(path)),
            group,
            split,
            line,
            excluded,
        });
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_come_in_any_order_with_others_beside_them() {
        let text = "\u{feff}split, note,article,human,id,exclude,reason,group\n\
            train,\"two\nlines\",a.png,h.png,one,,,anna\n\
            ,,a.png,,two,YES,no_human,\n";
        let rows = parse(text.as_bytes(), Path::new("f")).unwrap();
        let first = Row {
            id: "one".into(),
            human: Some("f/h.png".into()),
            article: Some("f/a.png".into()),
            group: Some("anna".into()),
            split: Some("train".into()),
            line: 2,
            excluded: None,
        };
        assert_eq!(rows[0], first);
        assert_eq!((rows[1].human.as_deref(), rows[1].line), (None, 4));
        assert_eq!(rows[1].excluded.as_deref(), Some("no_human"));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let refusal = |text: &str| parse(text.as_bytes(), Path::new("")).unwrap_err();
        let head = "id,human,article,exclude\n";
        insta::assert_snapshot!(
            [
                refusal(""),
                refusal("id;human;article\n"),
                refusal("id,human,article,id\n"),
                refusal(&format!("{head}a,h,a,maybe\n")),
                refusal(&format!("{head}a,h,a,\na,h,a,\n")),
                refusal(&format!("{head},h,a,\n")),
                refusal(&format!("{head}a,h,a\n")),
                parse(b"id,human,article\na,h,\xff\n", Path::new("")).unwrap_err(),
            ]
            .join("\n")
        );
    }
}
