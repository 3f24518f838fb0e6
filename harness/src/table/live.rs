//! What bcc's tables can do as a whole: rows 39, 41 to 45 of the reference guide.

use super::map_ref::{stored_size, unless_gone};
use super::{Entry, MapRef, Table};
use crate::error::Error;
use crate::hist::Hist;
use crate::value::Value;

/// `BPF_EXIST`: the key has to be there.
const EXIST: u64 = 2;

impl MapRef<'_> {
    /// Keys and values, sorted by key.
    ///
    /// # Errors
    /// As [`MapRef::table`].
    pub fn items(&mut self) -> Result<Vec<Entry>, Error> {
        Ok(self.table()?.items().to_vec())
    }

    /// The keys, sorted.
    ///
    /// # Errors
    /// As [`MapRef::table`].
    pub fn keys(&mut self) -> Result<Vec<Value>, Error> {
        Ok(self.table()?.keys().cloned().collect())
    }

    /// The values, in order of their keys.
    ///
    /// # Errors
    /// As [`MapRef::table`].
    pub fn values(&mut self) -> Result<Vec<Value>, Error> {
        Ok(self.table()?.values().cloned().collect())
    }

    /// How many elements there are.
    ///
    /// # Errors
    /// As [`MapRef::table`].
    pub fn len(&mut self) -> Result<usize, Error> {
        Ok(self.maps.entries(self.id)?.len())
    }

    /// Whether there are none.
    ///
    /// # Errors
    /// As [`MapRef::table`].
    pub fn is_empty(&mut self) -> Result<bool, Error> {
        Ok(self.len()? == 0)
    }

    /// Sets the value of a key: [`MapRef::update`], as `b["name"][key] = value` does.
    ///
    /// # Errors
    /// As there.
    pub fn set(&mut self, key: impl Into<Value>, value: impl Into<Value>) -> Result<(), Error> {
        self.update(key, value)
    }

    /// Keys and values, which are then no longer there (`BPF_MAP_LOOKUP_AND_DELETE_BATCH`). Hash maps give each element once,
    /// with its last value, whatever programs do meanwhile. For other types a kernel has no such operation: what is written
    /// to an element between its reading and its removal is lost.
    ///
    /// # Errors
    /// As [`MapRef::table`], and if elements of such a map cannot be removed.
    pub fn items_lookup_and_delete_batch(&mut self) -> Result<Vec<Entry>, Error> {
        let taken = self.maps.take_all(self.id)?;
        Ok(Table::new(self.name.clone(), self.decode_all(taken)?).items().to_vec())
    }

    /// Sets all values to zero; the keys stay. A key that a program has removed meanwhile does not come back.
    ///
    /// # Errors
    /// If the type is not simulated or cannot be changed.
    pub fn zero(&mut self) -> Result<(), Error> {
        for e in self.maps.entries(self.id)? {
            let zeros = vec![0; stored_size(&e.values)];
            unless_gone(self.maps.update(self.id, &e.key, &zeros, EXIST))?;
        }
        Ok(())
    }

    /// The sum over all CPUs of a key's value; of other maps the value. `None` if the key is not there.
    ///
    /// # Errors
    /// As [`MapRef::get`], and if the value is no number.
    pub fn sum(&mut self, key: impl Into<Value>) -> Result<Option<u64>, Error> {
        let Some(value) = self.get(key)? else { return Ok(None) };
        let wrong = || Error::Invalid(format!("map '{}': its values are no numbers", self.name));
        value.sum().map(Some).ok_or_else(wrong)
    }

    /// The largest value of a key over all CPUs; of other maps the value. `None` if the key is not there.
    ///
    /// # Errors
    /// As [`MapRef::sum`].
    pub fn max(&mut self, key: impl Into<Value>) -> Result<Option<u64>, Error> {
        let Some(value) = self.get(key)? else { return Ok(None) };
        let wrong = || Error::Invalid(format!("map '{}': its values are no numbers", self.name));
        let largest = match &value {
            Value::PerCpu(all) => {
                all.iter().map(Value::as_u64).collect::<Option<Vec<_>>>().map(|v| v.into_iter().max())
            }
            one => one.as_u64().map(Some),
        };
        largest.ok_or_else(wrong)
    }

    /// Prints the table as a histogram of powers of two; see [`Table::log2_hist_with`].
    ///
    /// # Errors
    /// As [`MapRef::table`], and if a key is no slot.
    pub fn print_log2_hist<'a>(&mut self, hist: impl Into<Hist<'a>>) -> Result<(), Error> {
        self.contents()?.print_log2_hist(hist)
    }

    /// Prints the table as a histogram of equal steps; see [`Table::linear_hist_with`].
    ///
    /// # Errors
    /// As [`MapRef::table`], and if a key is no slot.
    pub fn print_linear_hist<'a>(&mut self, hist: impl Into<Hist<'a>>) -> Result<(), Error> {
        self.contents()?.print_linear_hist(hist)
    }

    fn contents(&mut self) -> Result<Table, Error> {
        self.table()
    }
}
