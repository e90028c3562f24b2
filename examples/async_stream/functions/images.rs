//! Images of simple shapes, drawn by this program, to be classified.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Pixels in a row and in a column.
pub(crate) const SIDE: usize = 16;
/// Pixels in an image.
pub(crate) const PIXELS: usize = SIDE * SIDE;

/// A grayscale image: [`PIXELS`] bytes, row by row, if it is complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Image {
    pub(crate) name: String,
    pub(crate) pixels: Vec<u8>,
}

/// The shapes that an image can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Shape {
    HorizontalBars,
    VerticalBars,
    Checkerboard,
    Disc,
}

impl Shape {
    pub(crate) const ALL: [Self; 4] =
        [Self::HorizontalBars, Self::VerticalBars, Self::Checkerboard, Self::Disc];

    fn name(self) -> &'static str {
        match self {
            Self::HorizontalBars => "horizontal_bars",
            Self::VerticalBars => "vertical_bars",
            Self::Checkerboard => "checkerboard",
            Self::Disc => "disc",
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Image {
    /// Draws `shape`. The `variant` determines size, position, brightness and noise.
    pub(crate) fn draw(shape: Shape, variant: u64) -> Self {
        let mut dice = Dice(variant);
        let (dark, light) = (20 + dice.below(60), 160 + dice.below(80));
        let (size, shift) = (2 + dice.below(3), dice.below(4));
        let centre = (7 + dice.below(3), 7 + dice.below(3));
        let is_light = |x: usize, y: usize| match shape {
            Shape::HorizontalBars => (y + shift) / size % 2 == 1,
            Shape::VerticalBars => (x + shift) / size % 2 == 1,
            Shape::Checkerboard => ((x + shift) / size + (y + shift) / size) % 2 == 1,
            Shape::Disc => {
                x.abs_diff(centre.0).pow(2) + y.abs_diff(centre.1).pow(2) <= (size + 2).pow(2)
            }
        };
        let places = (0..PIXELS).map(|i| (i % SIDE, i / SIDE));
        let pixels = places
            .map(|(x, y)| {
                let brightness = if is_light(x, y) { light } else { dark };
                // At most 20 + 59 + 15 or 160 + 79 + 15: it fits.
                (brightness + dice.below(16)) as u8
            })
            .collect();
        Self { name: format!("{shape}-{variant}"), pixels }
    }

    /// An incomplete image.
    pub(crate) fn broken(variant: u64) -> Self {
        let mut image = Self::draw(Shape::Disc, variant);
        image.pixels.truncate(PIXELS / 2);
        Self { name: format!("broken-{variant}"), ..image }
    }
}

/// Draws the image of this name, such as `disc-7` or `broken-1`; without a number it is variant 0.
impl FromStr for Image {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let (shape, variant) = name.rsplit_once('-').unwrap_or((name, "0"));
        let variant = variant.parse().map_err(|_| format!("`{name}` does not end in a number"))?;
        if shape == "broken" {
            return Ok(Self::broken(variant));
        }
        let known = Shape::ALL.into_iter().find(|known| known.name() == shape);
        known.map(|shape| Self::draw(shape, variant)).ok_or_else(|| {
            let names = Shape::ALL.map(Shape::name).join(", ");
            format!("cannot draw `{shape}`; there are {names}, broken")
        })
    }
}

/// Numbers that look random and are the same in every run: SplitMix64 (Steele and others 2014).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_follows_from_its_name() {
        assert_eq!("disc-7".parse(), Ok(Image::draw(Shape::Disc, 7)));
        assert_ne!(
            "disc-7".parse(),
            Ok(Image { name: "disc-7".into(), ..Image::draw(Shape::Disc, 8) })
        );
        assert_eq!("broken-1".parse::<Image>().unwrap().pixels.len(), 128);
        assert!("cat-1".parse::<Image>().unwrap_err().contains("horizontal_bars"));
        assert!("disc-x".parse::<Image>().is_err());
    }

    #[test]
    fn shapes_are_named_as_in_json() {
        for shape in Shape::ALL {
            assert_eq!(serde_json::to_value(shape).unwrap(), shape.name());
        }
    }
}
