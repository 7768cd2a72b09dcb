// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A picture in memory for charts, with fonts of fixed width that this program carries: hosts that measure rarely have any.

use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::mono_font::{MonoFont, MonoTextStyle, ascii};
use embedded_graphics::pixelcolor::{Rgb888, RgbColor};
use embedded_graphics::text::{Baseline, Text};
use embedded_graphics::{Drawable, Pixel};
use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{
    BackendColor, BackendCoord, BackendTextStyle, DrawingBackend, DrawingErrorKind, FontTransform,
};
use std::convert::Infallible;

/// Red, green and blue of each pixel, row by row.
pub struct Canvas<'a> {
    pixels: &'a mut [u8],
    width: u32,
    height: u32,
}

impl<'a> Canvas<'a> {
    /// A picture over `pixels`, which are three bytes for each.
    pub fn new(pixels: &'a mut [u8], width: u32, height: u32) -> Self {
        Self {
            pixels,
            width,
            height,
        }
    }

    fn blend(&mut self, x: i32, y: i32, color: (u8, u8, u8), alpha: f64) {
        let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else {
            return;
        };
        if x >= self.width || y >= self.height {
            return;
        }
        let at = 3 * (y as usize * self.width as usize + x as usize);
        let Some(pixel) = self.pixels.get_mut(at..at + 3) else {
            return;
        };
        for (old, new) in pixel.iter_mut().zip([color.0, color.1, color.2]) {
            *old = (f64::from(*old) * (1.0 - alpha) + f64::from(new) * alpha).round() as u8;
        }
    }
}

/// The largest font that is not larger than was asked for.
fn font(size: f64) -> &'static MonoFont<'static> {
    match size {
        size if size >= 20.0 => &ascii::FONT_10X20,
        size if size >= 15.0 => &ascii::FONT_7X13_BOLD,
        _ => &ascii::FONT_6X13,
    }
}

/// Only these fonts' characters.
fn plain(text: &str) -> String {
    text.replace('µ', "u")
        .chars()
        .map(|c| if c.is_ascii() { c } else { '?' })
        .collect()
}

fn extent(text: &str, size: f64) -> (u32, u32) {
    let cell = font(size).character_size;
    (plain(text).len() as u32 * cell.width, cell.height)
}

/// Text that is drawn onto a canvas, turned or not.
struct Letters<'c, 'p> {
    canvas: &'c mut Canvas<'p>,
    origin: (i32, i32),
    turned: bool,
    alpha: f64,
}

impl OriginDimensions for Letters<'_, '_> {
    fn size(&self) -> Size {
        Size::new(self.canvas.width, self.canvas.height)
    }
}

impl DrawTarget for Letters<'_, '_> {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(&mut self, pixels: I) -> Result<(), Infallible> {
        for Pixel(at, color) in pixels {
            // A quarter turn against the clock: what went right goes up.
            let (x, y) = if self.turned { (at.y, -at.x) } else { (at.x, at.y) };
            let color = (color.r(), color.g(), color.b());
            self.canvas
                .blend(self.origin.0 + x, self.origin.1 + y, color, self.alpha);
        }
        Ok(())
    }
}

impl DrawingBackend for Canvas<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    fn ensure_prepared(&mut self) -> Result<(), DrawingErrorKind<Infallible>> {
        Ok(())
    }

    fn present(&mut self) -> Result<(), DrawingErrorKind<Infallible>> {
        Ok(())
    }

    fn draw_pixel(
        &mut self,
        point: BackendCoord,
        color: BackendColor,
    ) -> Result<(), DrawingErrorKind<Infallible>> {
        self.blend(point.0, point.1, color.rgb, color.alpha);
        Ok(())
    }

    fn estimate_text_size<S: BackendTextStyle>(
        &self,
        text: &str,
        style: &S,
    ) -> Result<(u32, u32), DrawingErrorKind<Infallible>> {
        let (width, height) = extent(text, style.size());
        Ok(match style.transform() {
            FontTransform::None | FontTransform::Rotate180 => (width, height),
            FontTransform::Rotate90 | FontTransform::Rotate270 => (height, width),
        })
    }

    fn draw_text<S: BackendTextStyle>(
        &mut self,
        text: &str,
        style: &S,
        at: BackendCoord,
    ) -> Result<(), DrawingErrorKind<Infallible>> {
        let (width, height) = extent(text, style.size());
        let (width, height) = (width as i32, height as i32);
        let turned = matches!(
            style.transform(),
            FontTransform::Rotate90 | FontTransform::Rotate270
        );
        let anchor = style.anchor();
        let back = match anchor.h_pos {
            HPos::Left => 0,
            HPos::Center => width / 2,
            HPos::Right => width,
        };
        let up = match anchor.v_pos {
            VPos::Top => 0,
            VPos::Center => height / 2,
            VPos::Bottom => height,
        };
        let origin = if turned {
            (at.0 - up, at.1 + back)
        } else {
            (at.0 - back, at.1 - up)
        };
        let color = style.color();
        let (r, g, b) = color.rgb;
        let mut letters = Letters {
            canvas: self,
            origin,
            turned,
            alpha: color.alpha,
        };
        let letter = MonoTextStyle::new(font(style.size()), Rgb888::new(r, g, b));
        let text = plain(text);
        // Nothing can go wrong: what is beyond the picture is not drawn.
        let _ = Text::with_baseline(&text, Point::zero(), letter, Baseline::Top).draw(&mut letters);
        Ok(())
    }
}
