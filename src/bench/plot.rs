// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Charts of results: latencies by percentiles, and requests a second over time.

use super::canvas::Canvas;
use super::report::{Direction, PERCENTILES, Report};
use plotters::coord::Shift;
use plotters::prelude::*;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

const SIZE: (u32, u32) = (1000, 720);
const COLORS: [RGBColor; 12] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 99, 20),
    RGBColor(44, 140, 44),
    RGBColor(190, 39, 40),
    RGBColor(128, 90, 170),
    RGBColor(110, 110, 110),
    RGBColor(230, 170, 20),
    RGBColor(20, 160, 170),
    RGBColor(220, 100, 170),
    RGBColor(120, 80, 40),
    RGBColor(0, 0, 90),
    RGBColor(150, 160, 30),
];

/// Why there is no chart.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file's name says no format.
    #[error("`{0}`: a chart is FILE.svg or FILE.png")]
    Format(PathBuf),
    /// The file cannot be written.
    #[error("the file cannot be written")]
    Io(#[from] io::Error),
    /// The picture cannot be encoded.
    #[error("the picture cannot be encoded")]
    Png(#[from] png::EncodingError),
    /// The chart cannot be drawn.
    #[error("the chart cannot be drawn: {0}")]
    Draw(String),
}

/// Whether a chart can be written under this name, before anything is measured for it.
///
/// # Errors
/// [`Error::Format`]
pub fn check(path: &Path) -> Result<(), Error> {
    format(path).map(drop)
}

enum Format {
    Svg,
    Png,
}

fn format(path: &Path) -> Result<Format, Error> {
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    match extension.to_ascii_lowercase().as_str() {
        "svg" => Ok(Format::Svg),
        "png" => Ok(Format::Png),
        _ => Err(Error::Format(path.to_owned())),
    }
}

/// Draws results, each with a name, into a file.
///
/// # Errors
/// See [`Error`].
pub fn save(path: &Path, results: &[(&str, &Report)]) -> Result<(), Error> {
    let lines = Lines::new(results);
    match format(path)? {
        Format::Svg => {
            let mut text = String::new();
            lines.draw(&SVGBackend::with_string(&mut text, SIZE).into_drawing_area())?;
            Ok(std::fs::write(path, text)?)
        }
        Format::Png => {
            let mut pixels = vec![0xff; 3 * SIZE.0 as usize * SIZE.1 as usize];
            lines.draw(&Canvas::new(&mut pixels, SIZE.0, SIZE.1).into_drawing_area())?;
            let mut encoder = png::Encoder::new(BufWriter::new(File::create(path)?), SIZE.0, SIZE.1);
            encoder.set_color(png::ColorType::Rgb);
            let mut writer = encoder.write_header()?;
            writer.write_image_data(&pixels)?;
            Ok(writer.finish()?)
        }
    }
}

/// What is drawn.
struct Lines {
    /// Microseconds at [`PERCENTILES`].
    latencies: Vec<(String, Vec<(f64, f64)>)>,
    /// Requests a second, by seconds.
    rates: Vec<(String, Vec<(f64, f64)>)>,
}

/// Where a percentile stands: each further nine is one step, so that the slow ones are not squeezed together at the edge.
fn place(parts: u64) -> f64 {
    -(1.0 - parts as f64 / 1e6).log10()
}

impl Lines {
    fn new(results: &[(&str, &Report)]) -> Self {
        let (mut latencies, mut rates) = (Vec::new(), Vec::new());
        for (file, report) in results {
            for job in &report.jobs {
                let name = |kind: &str| {
                    let words = [*file, job.jobname.as_str(), kind];
                    let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
                    words.join(": ")
                };
                let machine = job.vpc.as_ref().is_some_and(|own| own.level == "machine");
                for (kind, direction) in [("read", &job.read), ("write", &job.write)] {
                    let points = points(direction);
                    if !points.is_empty() {
                        latencies.push((name(if machine { "" } else { kind }), points));
                    }
                }
                let over_time = job.vpc.as_ref().map_or(&[][..], |own| &own.iops_over_time);
                if over_time.len() > 1 {
                    rates.push((name(""), over_time.to_vec()));
                }
            }
        }
        Self { latencies, rates }
    }

    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<(), Error> {
        let failed = |e: DrawingAreaErrorKind<B::ErrorType>| Error::Draw(e.to_string());
        area.fill(&WHITE).map_err(failed)?;
        if self.rates.is_empty() {
            self.draw_latencies(area).map_err(failed)?;
        } else {
            let (upper, lower) = area.split_vertically(SIZE.1 / 2);
            self.draw_latencies(&upper).map_err(failed)?;
            self.draw_rates(&lower).map_err(failed)?;
        }
        area.present().map_err(failed)
    }

    fn draw_latencies<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        let values = || {
            self.latencies
                .iter()
                .flat_map(|(_, points)| points)
                .map(|(_, micros)| *micros)
        };
        let least = values().fold(f64::INFINITY, f64::min).clamp(0.001, 1e12);
        let most = values().fold(0.0, f64::max).max(least * 2.0);
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .margin_right(36)
            .caption("Latency", ("sans-serif", 20))
            .x_label_area_size(40)
            .y_label_area_size(80)
            .build_cartesian_2d(0.0..4.0, (least * 0.8..most * 1.25).log_scale())?;
        chart
            .configure_mesh()
            .x_labels(5)
            .x_desc("percentile")
            .y_desc("us")
            .x_label_formatter(&|x: &f64| match x.round() as i64 {
                0 => "0".to_owned(),
                1 => "90".to_owned(),
                2 => "99".to_owned(),
                3 => "99.9".to_owned(),
                _ => "99.99".to_owned(),
            })
            .label_style(("sans-serif", 13))
            .draw()?;
        for (index, (name, points)) in self.latencies.iter().enumerate() {
            let color = COLORS[index % COLORS.len()];
            chart
                .draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2)))?
                .label(name.clone())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.3))
            .label_font(("sans-serif", 13))
            .draw()
    }

    fn draw_rates<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        let all = || self.rates.iter().flat_map(|(_, points)| points);
        let end = all().map(|(at, _)| *at).fold(0.001, f64::max);
        let most = all().map(|(_, rate)| *rate).fold(1.0, f64::max);
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .margin_right(36)
            .caption("Requests a second", ("sans-serif", 20))
            .x_label_area_size(40)
            .y_label_area_size(80)
            .build_cartesian_2d(0.0..end, 0.0..most * 1.1)?;
        chart
            .configure_mesh()
            .x_desc("seconds")
            .y_desc("IOPS")
            .y_label_formatter(&|rate: &f64| format!("{rate:.0}"))
            .label_style(("sans-serif", 13))
            .draw()?;
        for (index, (_, points)) in self.rates.iter().enumerate() {
            let color = COLORS[index % COLORS.len()];
            chart.draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2)))?;
        }
        Ok(())
    }
}

fn points(direction: &Direction) -> Vec<(f64, f64)> {
    let percentiles = PERCENTILES.iter().filter_map(|&parts| {
        let nanos = direction.clat_ns.at(parts)?;
        // A logarithmic scale has no zero.
        Some((place(parts), (nanos as f64 / 1e3).max(0.001)))
    });
    percentiles.collect()
}
