//! Placeholder of the hash table until it lands: a vector with the same interface.

pub trait TableItem {
    fn key(&self) -> &[u8];
}

pub struct Table<T>(Vec<T>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table(Vec::new())
    }
}

impl<T: TableItem> Table<T> {
    pub fn len(&self) -> usize {
        self.0.len()
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    pub fn find(&self, _: u64, key: &[u8]) -> Option<&T> {
        self.0.iter().find(|t| t.key() == key)
    }
    pub fn find_mut(&mut self, _: u64, key: &[u8]) -> Option<&mut T> {
        self.0.iter_mut().find(|t| t.key() == key)
    }
    pub fn insert_new(&mut self, _: u64, item: T) -> &mut T {
        self.0.push(item);
        self.0.last_mut().expect("just pushed")
    }
    pub fn remove(&mut self, _: u64, key: &[u8]) -> Option<T> {
        let at = self.0.iter().position(|t| t.key() == key)?;
        Some(self.0.swap_remove(at))
    }
    pub fn scan(&self, cursor: u64, f: &mut dyn FnMut(&T)) -> u64 {
        let _ = cursor;
        self.0.iter().for_each(f);
        0
    }
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }
    pub fn take_some(&mut self, n: usize, f: &mut dyn FnMut(T)) -> bool {
        for _ in 0..n {
            match self.0.pop() {
                Some(t) => f(t),
                None => return false,
            }
        }
        !self.0.is_empty()
    }
    pub fn random(&self, rng: &mut dyn FnMut() -> u64) -> Option<&T> {
        (!self.0.is_empty()).then(|| &self.0[(rng() % self.0.len() as u64) as usize])
    }
    pub fn find_by_low_hash(&self, low: u32, f: &mut dyn FnMut(&T) -> bool) -> Option<&T> {
        self.0.iter().find(|t| crate::hash::hash(t.key()) as u32 == low && f(t))
    }
    pub fn heap_bytes(&self) -> usize {
        self.0.capacity() * 8
    }
}
