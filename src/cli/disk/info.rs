// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `vpc disk info`

use super::files;
use crate::cli::{Error, exit};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Shows what an image is.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Image
    path: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Show all of its parents too
    #[arg(long)]
    chain: bool,
    #[command(flatten)]
    opening: files::Opening,
}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<u8, Error> {
        let disk = self.opening.read(&self.path)?;
        let shown = if self.chain { disk.layers().len() } else { 1 };
        let paths = disk.layers().map(|layer| layer.path().to_owned()).skip(1);
        let parents: Vec<Option<PathBuf>> = paths.map(Some).chain([None]).collect();
        let mut images: Vec<Image> = disk
            .layers()
            .zip(parents)
            .take(shown)
            .map(|(layer, parent)| Image::new(&layer, parent))
            .collect();
        if let Some(image) = images.first_mut().filter(|_| self.opening.is_qcow2(&self.path)) {
            image.format = "qcow2".to_owned();
            image.parent = crate::qcow2::backing_name(&self.path).map(|name| Parent { name, path: None });
        }
        if self.json {
            match images.as_slice() {
                // One image is an object, a chain is a list.
                [image] if !self.chain => crate::cli::print_json(image)?,
                images => crate::cli::print_json(&images)?,
            }
        } else {
            for (depth, image) in images.iter().enumerate() {
                image.print(depth);
            }
        }
        Ok(exit::DONE)
    }
}

/// One image of a chain.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Image {
    path: PathBuf,
    format: String,
    /// Bytes.
    virtual_size: u64,
    /// Bytes of the file.
    file_size: Option<u64>,
    /// Bytes that the file takes on the host; less than its size if it has holes.
    allocated: Option<u64>,
    geometry: Geometry,
    #[serde(skip_serializing_if = "Option::is_none")]
    vhd: Option<Vhd>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blocks: Option<Blocks>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<Parent>,
    notices: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Geometry {
    cylinders: u16,
    heads: u8,
    sectors: u8,
}

/// What the footer says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Vhd {
    unique_id: String,
    created: Option<String>,
    creator: String,
    original_size: u64,
    saved_state: bool,
}

/// How the blocks of a dynamic or differencing image are used.
#[derive(Debug, Serialize)]
struct Blocks {
    size: u64,
    used: u64,
    total: u64,
}

#[derive(Debug, Serialize)]
struct Parent {
    /// As the child has it.
    name: String,
    /// Where it was found.
    path: Option<PathBuf>,
}

impl Image {
    fn new(layer: &vhd::Layer<'_>, parent: Option<PathBuf>) -> Self {
        let metadata = std::fs::metadata(layer.path()).ok();
        let geometry = layer.geometry();
        let blocks = layer.block_size().map(|size| Blocks {
            size,
            used: layer.allocated_blocks().unwrap_or_default(),
            total: layer.disk_size().div_ceil(size),
        });
        Self {
            path: layer.path().to_owned(),
            format: layer.format().to_string(),
            virtual_size: layer.disk_size(),
            file_size: metadata.as_ref().map(std::fs::Metadata::len),
            allocated: metadata.as_ref().map(|_| files::allocated(layer.path())),
            geometry: Geometry {
                cylinders: geometry.cylinders,
                heads: geometry.heads,
                sectors: geometry.sectors,
            },
            vhd: layer.footer().map(Vhd::new),
            blocks,
            parent: layer.parent_name().map(|name| Parent {
                name: name.to_owned(),
                path: parent,
            }),
            notices: layer.notices().iter().map(ToString::to_string).collect(),
        }
    }

    fn print(&self, depth: usize) {
        let indent = "   ".repeat(depth.saturating_sub(1));
        let branch = if depth == 0 { "" } else { "└─ " };
        println!("{indent}{branch}{}", self.path.display());
        let indent = "   ".repeat(depth);
        let line = |name: &str, value: String| println!("{indent}  {name:<14}{value}");
        line("format", self.format.clone());
        line("virtual size", bytes(self.virtual_size));
        if let (Some(size), Some(allocated)) = (self.file_size, self.allocated) {
            line(
                "file size",
                format!("{}, {} on the host", bytes(size), short(allocated)),
            );
        }
        let Geometry {
            cylinders,
            heads,
            sectors,
        } = self.geometry;
        line(
            "geometry",
            format!("{cylinders} cylinders, {heads} heads, {sectors} sectors"),
        );
        if let Some(blocks) = &self.blocks {
            let Blocks { size, used, total } = blocks;
            line("blocks", format!("{used} of {total} used, {} each", short(*size)));
        }
        if let Some(vhd) = &self.vhd {
            line("unique ID", vhd.unique_id.clone());
            let created = vhd.created.as_deref().unwrap_or("an unknown time");
            line("created", format!("{created} by `{}`", vhd.creator));
            if vhd.original_size != self.virtual_size {
                line("made with", bytes(vhd.original_size));
            }
            if vhd.saved_state {
                line("saved state", "yes".to_owned());
            }
        }
        if let Some(parent) = &self.parent {
            let found = parent
                .path
                .as_deref()
                .map_or_else(|| parent.name.clone(), |path: &Path| path.display().to_string());
            line("parent", found);
        }
        for notice in &self.notices {
            line("notice", notice.clone());
        }
    }
}

impl Vhd {
    fn new(footer: &vhd::format::Footer) -> Self {
        let created = jiff::Timestamp::from_second(EPOCH + i64::from(footer.time_stamp.get()));
        // Of hostile origin, and printed to a terminal.
        let creator: String = footer
            .creator_application
            .iter()
            .map(|&byte| {
                if byte == b' ' || byte.is_ascii_graphic() {
                    byte.into()
                } else {
                    '?'
                }
            })
            .collect();
        Self {
            unique_id: id(&footer.unique_id),
            created: created.ok().map(|time| time.to_string()),
            creator: creator.trim_end().to_owned(),
            original_size: footer.original_size.get(),
            saved_state: footer.saved_state != 0,
        }
    }
}

/// 2000-01-01 00:00 UTC, where VHD time begins, in seconds since 1970.
const EPOCH: i64 = 946_684_800;

fn id(bytes: &[u8; 16]) -> String {
    let groups = [0..4, 4..6, 6..8, 8..10, 10..16];
    let hex = |range: std::ops::Range<usize>| -> String {
        let group = bytes.get(range).unwrap_or_default();
        group.iter().map(|byte| format!("{byte:02x}")).collect()
    };
    groups.map(hex).join("-")
}

fn bytes(count: u64) -> String {
    format!("{} ({count} bytes)", short(count))
}

/// A size as a person reads it; never rounded up to look like more than it is.
pub fn short(count: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.into_iter().find(|&(shift, _)| count >> shift != 0) {
        Some((shift, unit)) => {
            let (whole, rest) = (count >> shift, count & ((1 << shift) - 1));
            match (rest * 10) >> shift {
                0 => format!("{whole} {unit}"),
                tenth => format!("{whole}.{tenth} {unit}"),
            }
        }
        None => format!("{count} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::{id, short};

    #[test]
    fn sizes_for_people() {
        assert_eq!(short(0), "0 bytes");
        assert_eq!(short(1023), "1023 bytes");
        assert_eq!(short(1024), "1 KiB");
        assert_eq!(short((10 << 30) + (1 << 29)), "10.5 GiB");
        assert_eq!(short(2040 << 30), "1.9 TiB");
    }

    #[test]
    fn ids_come_in_groups() {
        let bytes = std::array::from_fn(|index| index as u8);
        assert_eq!(id(&bytes), "00010203-0405-0607-0809-0a0b0c0d0e0f");
    }
}
