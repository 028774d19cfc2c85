//! The attributes of the path that are plain text (RFC 7512, section 2.3), in their canonical order.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Text {
    Token,
    Manufacturer,
    Model,
    Serial,
    SlotDescription,
    SlotManufacturer,
    LibraryManufacturer,
    LibraryDescription,
    LibraryVersion,
    Object,
}

impl Text {
    pub(super) const COUNT: usize = 10;

    pub(super) const ALL: [Self; Self::COUNT] = [
        Self::Token,
        Self::Manufacturer,
        Self::Model,
        Self::Serial,
        Self::SlotDescription,
        Self::SlotManufacturer,
        Self::LibraryManufacturer,
        Self::LibraryDescription,
        Self::LibraryVersion,
        Self::Object,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Manufacturer => "manufacturer",
            Self::Model => "model",
            Self::Serial => "serial",
            Self::SlotDescription => "slot-description",
            Self::SlotManufacturer => "slot-manufacturer",
            Self::LibraryManufacturer => "library-manufacturer",
            Self::LibraryDescription => "library-description",
            Self::LibraryVersion => "library-version",
            Self::Object => "object",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|text| text.name() == name)
    }
}
