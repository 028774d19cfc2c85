//! What a run found, for people and for programs: a Markdown table, JSON and plots.

mod agreement;
mod json;
mod plot;
mod summary;
mod svg;
mod table;
mod tokens;

use std::fs;
use std::io::Write;
use std::path::Path;

use crate::agreement::{Agreement, Findings};
use crate::problem::{During, Result};
use crate::rounds::say;
use crate::study::{Results, Study};

/// Writes everything into the folder of results, and the table to standard output.
pub(crate) fn write(study: &Study, results: &Results) -> Result<()> {
    let summary = summary::summarize(study, results);
    let table = table::markdown(study, results, &summary);
    let document = json::document(study, results, &summary);
    let document = serde_json::to_string_pretty(&document).during("the results as JSON")?;
    let mut files = vec![
        (format!("{}.md", study.name), table.clone()),
        (format!("{}.json", study.name), document + "\n"),
        (format!("{}.slices.jsonl", study.name), json::slices(results)),
    ];
    for (name, picture) in plot::pictures(&summary) {
        files.push((format!("{}-{name}.svg", study.name), picture));
    }
    put(&study.results, &files, &table)
}

/// Writes the table to standard output; if the run has a name, it and JSON into the folder of results.
pub(crate) fn write_agreement(asked: &Agreement, findings: &Findings) -> Result<()> {
    let table = agreement::markdown(asked, findings);
    let mut files = Vec::new();
    if let Some(name) = &asked.name {
        let document = agreement::document(asked, findings);
        let document = serde_json::to_string_pretty(&document).during("the results as JSON")?;
        files.push((format!("{name}.md"), table.clone()));
        files.push((format!("{name}.json"), document + "\n"));
    }
    put(&asked.results, &files, &table)
}

fn put(directory: &Path, files: &[(String, String)], table: &str) -> Result<()> {
    if !files.is_empty() {
        fs::create_dir_all(directory).during(directory.display())?;
    }
    for (name, text) in files {
        let file = directory.join(name);
        fs::write(&file, text).during(file.display())?;
    }
    // Nobody reads it: the files are there, or nobody wants to know.
    let _ = writeln!(std::io::stdout().lock(), "{table}");
    if files.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    say(&format!("written to {}: {}", directory.display(), names.join(", ")), false);
    Ok(())
}
