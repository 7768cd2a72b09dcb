// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `vpc bench --compare`

use crate::bench::plot;
use crate::bench::report::{Direction, JobReport, Report};
use crate::cli::{Error, exit};
use serde::Serialize;
use std::path::Path;

/// A figure of both files.
#[derive(Debug, Serialize)]
struct Row {
    job: String,
    figure: String,
    a: f64,
    b: f64,
    /// The second to the first; none if the first is zero.
    ratio: Option<f64>,
    /// More is better, or else less.
    more_is_better: bool,
}

/// Prints the ratios of `b`'s results to `a`'s.
pub fn run(a: &Path, b: &Path, chart: Option<&Path>, json: bool) -> Result<u8, Error> {
    if let Some(path) = chart {
        plot::check(path).map_err(|e| Error::wrong(&e))?;
    }
    let (first, second) = (read(a)?, read(b)?);
    let rows = rows(&first, &second);
    if rows.is_empty() {
        return Err(Error::Use(format!(
            "`{}` and `{}` have no results that could be compared: both need a job that reads, or that writes",
            a.display(),
            b.display()
        )));
    }
    if let Some(path) = chart {
        let (a, b) = (a.display().to_string(), b.display().to_string());
        plot::save(path, &[(&a, &first), (&b, &second)]).map_err(|e| super::unwritable(path, &e))?;
    }
    if json {
        crate::cli::print_json(&rows)?;
    } else {
        println!("A: {}\nB: {}\n", a.display(), b.display());
        println!(
            "{:28} {:22} {:>14} {:>14} {:>8}",
            "job", "figure", "A", "B", "B / A"
        );
        for row in &rows {
            let ratio = row
                .ratio
                .map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
            let better = match (row.ratio, row.more_is_better) {
                (Some(ratio), more) if (ratio > 1.0) == more && (ratio - 1.0).abs() > 0.005 => "better",
                (Some(ratio), _) if (ratio - 1.0).abs() > 0.005 => "worse",
                _ => "",
            };
            println!(
                "{:28} {:22} {:>14} {:>14} {ratio:>8} {better}",
                row.job,
                row.figure,
                short(row.a),
                short(row.b)
            );
        }
    }
    Ok(exit::DONE)
}

fn short(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value => format!("{value:.2}"),
    }
}

fn read(path: &Path) -> Result<Report, Error> {
    const LARGEST: u64 = 64 << 20;
    let wrong =
        |why: &dyn std::fmt::Display| Error::Use(format!("`{}` cannot be read: {why}", path.display()));
    let metadata = std::fs::metadata(path).map_err(|e| wrong(&e))?;
    if !metadata.is_file() || metadata.len() > LARGEST {
        return Err(wrong(&"it is no file of results"));
    }
    let text = std::fs::read_to_string(path).map_err(|e| wrong(&e))?;
    // fio may write notes before its JSON.
    let start = text.find('{').unwrap_or(0);
    serde_json::from_str(&text[start..]).map_err(|e| {
        wrong(&format!(
            "{e}; a file of `vpc bench ... --json` or `fio --output-format=json` is wanted"
        ))
    })
}

/// Jobs with one name, or the only ones there are.
fn pairs<'a>(a: &'a Report, b: &'a Report) -> Vec<(String, &'a JobReport, &'a JobReport)> {
    if let ([a], [b]) = (a.jobs.as_slice(), b.jobs.as_slice()) {
        let name = if a.jobname == b.jobname {
            a.jobname.clone()
        } else {
            format!("{} / {}", a.jobname, b.jobname)
        };
        return vec![(name, a, b)];
    }
    let named = a.jobs.iter().filter_map(|job| {
        let other = b.jobs.iter().find(|other| other.jobname == job.jobname)?;
        Some((job.jobname.clone(), job, other))
    });
    named.collect()
}

fn rows(a: &Report, b: &Report) -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, a, b) in pairs(a, b) {
        let mut add = |figure: String, a: f64, b: f64, more_is_better| {
            rows.push(Row {
                job: name.clone(),
                figure,
                a,
                b,
                ratio: (a != 0.0).then(|| b / a),
                more_is_better,
            });
        };
        for (kind, a, b) in [("read", &a.read, &b.read), ("write", &a.write, &b.write)] {
            if a.total_ios == 0 || b.total_ios == 0 {
                continue;
            }
            let mut direction = |figure: &str, of: &dyn Fn(&Direction) -> f64, more| {
                add(format!("{kind} {figure}"), of(a), of(b), more);
            };
            direction("IOPS", &|d| d.iops, true);
            if a.bw_bytes != 0 && b.bw_bytes != 0 {
                direction("MB/s", &|d| d.bw_bytes as f64 / 1e6, true);
            }
            direction("latency mean, us", &|d| d.clat_ns.mean / 1e3, false);
            for (words, parts) in [("50 %", 500_000), ("99 %", 990_000), ("99.9 %", 999_000)] {
                if a.clat_ns.at(parts).is_some() && b.clat_ns.at(parts).is_some() {
                    direction(
                        &format!("{words}, us"),
                        &|d| d.clat_ns.at(parts).unwrap_or(0) as f64 / 1e3,
                        false,
                    );
                }
            }
        }
        if let (Some(a), Some(b)) = (&a.vpc, &b.vpc) {
            if a.cpu_us_per_io > 0.0 {
                add(
                    "CPU a request, us".to_owned(),
                    a.cpu_us_per_io,
                    b.cpu_us_per_io,
                    false,
                );
            }
            if let (Some(a), Some(b)) = (&a.exits_per_io, &b.exits_per_io) {
                add("exits a request".to_owned(), a.total, b.total, false);
            }
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// As fio 3.33 writes it, cut to what has a meaning here and some that has none.
    const FIO: &str = r#"fio: this is a note
        {"fio version": "fio-3.33", "global options": {"ioengine": "psync"}, "jobs": [{"jobname": "x", "eta": 0,
        "read": {"io_bytes": 8192, "bw_bytes": 4096, "bw": 4, "iops": 1.0, "runtime": 2000, "total_ios": 2, "slat_ns": {"min": 0},
        "clat_ns": {"min": 10, "max": 20, "mean": 15.0, "stddev": 5.0, "N": 2, "percentile": {"50.000000": 10, "99.000000": 20}}},
        "write": {"total_ios": 0}, "trim": {}, "usr_cpu": 0.5, "job_runtime": 2000}], "disk_util": []}"#;

    #[test]
    fn results_of_fio_are_compared() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fio.json");
        std::fs::write(&path, FIO).unwrap();
        let a = read(&path).unwrap();
        let mut b = a.clone();
        b.jobs[0].read.iops = 3.0;
        b.jobs[0].jobname = "y".into();
        let rows = rows(&a, &b);
        assert_eq!((rows[0].figure.as_str(), rows[0].ratio), ("read IOPS", Some(3.0)));
        assert_eq!(rows[0].job, "x / y");
        assert_eq!(rows.len(), 5, "{rows:?}");
        assert!(rows.iter().skip(1).all(|row| row.ratio == Some(1.0)));
    }

    #[test]
    fn what_is_no_result_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.json");
        for text in ["", "{", "[1]", r#"{"jobs": 5}"#] {
            std::fs::write(&path, text).unwrap();
            assert!(read(&path).is_err(), "{text}");
        }
        assert!(read(folder.path()).is_err());
    }
}
