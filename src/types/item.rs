//! What an entry of a compact collection holds: text, or an integer standing for its decimal text.

use super::number::parse_i64;

/// An element as it is stored: an integer stands for its canonical decimal text.
#[derive(Clone, Copy, Debug)]
pub enum Item<'a> {
    Int(i64),
    Str(&'a [u8]),
}

/// Room for the text of an integer, so that [`Item::text`] need not allocate.
pub type ItemBuffer = itoa::Buffer;

impl<'a> Item<'a> {
    /// The integer if `text` is the canonical decimal form of an `i64`, else the text itself.
    #[inline]
    pub fn parse(text: &'a [u8]) -> Self {
        match parse_i64(text) {
            Some(v) => Item::Int(v),
            None => Item::Str(text),
        }
    }

    /// The text, formatted into `buffer` if it is an integer.
    #[inline]
    pub fn text<'b>(self, buffer: &'b mut ItemBuffer) -> &'b [u8]
    where
        'a: 'b,
    {
        match self {
            Item::Int(v) => buffer.format(v).as_bytes(),
            Item::Str(s) => s,
        }
    }

    /// Length of the text in bytes.
    pub fn text_len(self) -> usize {
        self.text(&mut ItemBuffer::new()).len()
    }

    /// The text as an owned vector.
    pub fn to_vec(self) -> Vec<u8> {
        self.text(&mut ItemBuffer::new()).to_vec()
    }

    /// The integer whose canonical decimal form the text is, if it is one.
    #[inline]
    pub fn as_int(self) -> Option<i64> {
        match self {
            Item::Int(v) => Some(v),
            Item::Str(s) => parse_i64(s),
        }
    }

    /// Whether the text equals `text`.
    #[inline]
    pub fn is(self, text: &[u8]) -> bool {
        match self {
            Item::Int(v) => itoa::Buffer::new().format(v).as_bytes() == text,
            Item::Str(s) => s == text,
        }
    }
}

/// Items are equal when their texts are.
impl PartialEq for Item<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Item::Int(a), Item::Int(b)) => a == b,
            (Item::Str(a), b) | (b, Item::Str(a)) => b.is(a),
        }
    }
}

impl Eq for Item<'_> {}

/// An element taken out of a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnedItem {
    Int(i64),
    Text(Vec<u8>),
}

impl OwnedItem {
    pub fn as_item(&self) -> Item<'_> {
        match self {
            OwnedItem::Int(v) => Item::Int(*v),
            OwnedItem::Text(t) => Item::Str(t),
        }
    }

    /// The text as a vector.
    pub fn into_vec(self) -> Vec<u8> {
        match self {
            OwnedItem::Int(v) => Item::Int(v).to_vec(),
            OwnedItem::Text(t) => t,
        }
    }
}

impl From<Item<'_>> for OwnedItem {
    fn from(item: Item<'_>) -> Self {
        match item {
            Item::Int(v) => OwnedItem::Int(v),
            Item::Str(s) => OwnedItem::Text(s.to_vec()),
        }
    }
}
