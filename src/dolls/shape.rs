//! Kinds of garments.

/// A kind of garment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Shape {
    Bikini,
    OnePiece,
    TankTop,
    TShirt,
    LongSleeve,
    Dress,
    Coat,
}

impl Shape {
    pub const ALL: [Shape; 7] =
        [Shape::Bikini, Shape::OnePiece, Shape::TankTop, Shape::TShirt, Shape::LongSleeve, Shape::Dress, Shape::Coat];

    /// Whether trousers and skirts are worn over it.
    pub fn swimwear(self) -> bool {
        matches!(self, Shape::Bikini | Shape::OnePiece)
    }
}
