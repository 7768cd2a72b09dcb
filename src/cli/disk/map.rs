// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `vpc disk map`

use super::{files, info::short};
use crate::cli::{Error, exit};
use serde::Serialize;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use vhd::{Extent, Source};

/// Shows where each part of a disk is in its chain.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Image
    path: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Draw a picture to a new file: a colour for each image of the chain, from left to right and down
    #[arg(long, value_name = "FILE")]
    png: Option<PathBuf>,
    #[command(flatten)]
    opening: files::Opening,
}

/// An extent as it is printed as JSON. Zeros are nowhere: they have no layer.
#[derive(Debug, Serialize)]
struct Entry {
    start: u64,
    length: u64,
    layer: Option<usize>,
    offset: Option<u64>,
}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<u8, Error> {
        let disk = self.opening.read(&self.path)?;
        let mut extents = Vec::new();
        vhd::map::map(&disk, &vhd::Watch::default(), |extent| extents.push(extent))
            .map_err(|e| Error::wrong(&e))?;
        if let Some(png) = &self.png {
            let picture = Picture::new(&extents, disk.len());
            picture
                .save(png)
                .map_err(|e| Error::Use(format!("`{}` cannot be written: {e}", png.display())))?;
        }
        if self.json {
            let entries: Vec<Entry> = extents.iter().map(Entry::new).collect();
            crate::cli::print_json(&entries)?;
        } else if self.png.is_none() {
            match print(&disk, &extents) {
                Err(e) if e.kind() == io::ErrorKind::BrokenPipe => {}
                result => {
                    result.map_err(|e| Error::Use(format!("standard output cannot be written: {e}")))?;
                }
            }
        }
        Ok(exit::DONE)
    }
}

impl Entry {
    fn new(extent: &Extent) -> Self {
        let (layer, offset) = match extent.source {
            Source::Zero => (None, None),
            Source::File { layer, offset } => (Some(layer), Some(offset)),
        };
        Self {
            start: extent.offset,
            length: extent.len,
            layer,
            offset,
        }
    }
}

fn print(disk: &vhd::Disk, extents: &[Extent]) -> io::Result<()> {
    let mut output = BufWriter::new(io::stdout().lock());
    let names: Vec<_> = disk.layers().map(|layer| layer.path().to_owned()).collect();
    writeln!(output, "{:>16} {:>16}  {:>16}  file", "start", "length", "offset")?;
    for Extent { offset, len, source } in extents {
        match source {
            Source::Zero => writeln!(output, "{offset:>16} {len:>16}  {:>16}  zeros", "-")?,
            Source::File { layer, offset: at } => {
                let name = names
                    .get(*layer)
                    .map_or(String::new(), |path| path.display().to_string());
                writeln!(output, "{offset:>16} {len:>16}  {at:>16}  {name}")?;
            }
        }
    }
    let held: u64 = extents
        .iter()
        .filter(|extent| extent.source != Source::Zero)
        .map(|extent| extent.len)
        .sum();
    writeln!(output, "{} of {} are in files", short(held), short(disk.len()))?;
    output.flush()
}

/// Width of the picture, in pixels.
const WIDTH: u32 = 512;
/// Its height.
const HEIGHT: u32 = 256;

/// The disk as pixels, each for an equal part of it, with the layer that has the most of that part.
struct Picture {
    pixels: Vec<u8>,
}

impl Picture {
    fn new(extents: &[Extent], size: u64) -> Self {
        let mut pixels = Vec::new();
        let count = u64::from(WIDTH * HEIGHT);
        let mut rest = extents;
        // Wide enough that no disk overflows it.
        let border = |pixel: u64| (u128::from(size) * u128::from(pixel) / u128::from(count)) as u64;
        for pixel in 0..count {
            let (start, end) = (border(pixel), border(pixel + 1).max(border(pixel) + 1));
            while let Some((first, others)) = rest.split_first()
                && first.offset + first.len <= start
            {
                rest = others;
            }
            let here = rest.iter().take_while(|extent| extent.offset < end);
            let most = here.max_by_key(|extent| {
                let share = (extent.offset + extent.len).min(end) - extent.offset.max(start);
                // A little data among zeros is what one looks for.
                (extent.source != Source::Zero, share)
            });
            pixels.extend(colour(most.map_or(Source::Zero, |extent| extent.source)));
        }
        Self { pixels }
    }

    fn save(&self, path: &Path) -> Result<(), png::EncodingError> {
        let file = BufWriter::new(File::create_new(path)?);
        let mut encoder = png::Encoder::new(file, WIDTH, HEIGHT);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.pixels)?;
        writer.finish()
    }
}

/// Light grey for zeros; for layers the eight colours that Okabe and Ito chose so that everybody can tell them apart.
fn colour(source: Source) -> [u8; 3] {
    const LAYERS: [[u8; 3]; 8] = [
        [213, 94, 0],
        [0, 114, 178],
        [0, 158, 115],
        [240, 228, 66],
        [86, 180, 233],
        [204, 121, 167],
        [230, 159, 0],
        [0, 0, 0],
    ];
    match source {
        Source::Zero => [235, 235, 235],
        Source::File { layer, .. } => LAYERS.get(layer % LAYERS.len()).copied().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_shows_each_part_in_its_place() {
        let size = u64::from(WIDTH * HEIGHT) * 4096;
        let half = size / 2;
        let extents = [
            Extent {
                offset: 0,
                len: half,
                source: Source::Zero,
            },
            Extent {
                offset: half,
                len: 512,
                source: Source::File { layer: 1, offset: 0 },
            },
            Extent {
                offset: half + 512,
                len: half - 512,
                source: Source::Zero,
            },
        ];
        let picture = Picture::new(&extents, size);
        assert_eq!(picture.pixels.len(), (WIDTH * HEIGHT * 3) as usize);
        let layer = colour(Source::File { layer: 1, offset: 0 });
        let found: Vec<usize> = picture
            .pixels
            .chunks(3)
            .enumerate()
            .filter_map(|(pixel, rgb)| (rgb == layer).then_some(pixel))
            .collect();
        assert_eq!(found, [(WIDTH * HEIGHT / 2) as usize]);
    }
}
