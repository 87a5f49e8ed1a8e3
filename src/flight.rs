//! One request to the upstream at a time for what many wait for.
//!
//! A node restarts forty pods; forty callers miss on the same secret within a millisecond. The
//! upstream is to see one request, and if that one fails, one failure: forty retries are how a
//! struggling Vault becomes a dead one.
//!
//! The flight belongs to nobody's connection: its [`Pilot`] goes to a task of its own, so a caller
//! that hangs up, even the first, leaves the others' answer on its way. This is separate from the
//! store because moka's loaders restart when their first caller leaves, and give up in a panic
//! after two hundred of those (docs/decisions/0002).

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// The flights under way, each for a key and under a tag; who may board a flight is decided by
/// its tag.
#[derive(Debug)]
pub struct Flights<K, T, V>(Arc<Mutex<Board<K, T, V>>>);

#[derive(Debug)]
struct Board<K, T, V> {
    /// How many there were so far.
    flights: u64,
    by_key: HashMap<K, Vec<Flight<T, V>>>,
}

#[derive(Debug)]
struct Flight<T, V> {
    number: u64,
    tag: T,
    /// Those on board, in the order they came, which is the order they are told in.
    passengers: Vec<oneshot::Sender<V>>,
}

/// What boarding gives.
pub enum Seat<K: Eq + Hash, T, V> {
    /// Nobody flies there: fly, in a task that outlives the caller.
    Pilot(Pilot<K, T, V>),
    /// Somebody does: wait.
    Passenger(Passenger<V>),
}

/// Whoever makes the request.
pub struct Pilot<K: Eq + Hash, T, V> {
    board: Arc<Mutex<Board<K, T, V>>>,
    key: K,
    number: u64,
}

/// Whoever waits for it.
pub struct Passenger<V>(oneshot::Receiver<V>);

impl<K: Clone + Eq + Hash, T, V: Clone> Flights<K, T, V> {
    /// Takes a seat on a flight to `key` whose tag `suits`, or starts one under `tag`.
    pub fn board(&self, key: &K, tag: T, suits: impl Fn(&T) -> bool) -> Seat<K, T, V> {
        let mut board = lock(&self.0);
        let number = board.flights;
        let flights = board.by_key.entry(key.clone()).or_default();
        if let Some(flight) = flights.iter_mut().find(|flight| suits(&flight.tag)) {
            let (land, landing) = oneshot::channel();
            flight.passengers.push(land);
            return Seat::Passenger(Passenger(landing));
        }
        flights.push(Flight { number, tag, passengers: Vec::new() });
        board.flights += 1;
        Seat::Pilot(Pilot { board: Arc::clone(&self.0), key: key.clone(), number })
    }
}

impl<K, T, V> Default for Flights<K, T, V> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Board { flights: 0, by_key: HashMap::new() })))
    }
}

impl<K: Eq + Hash, T, V: Clone> Pilot<K, T, V> {
    /// Gives the answer to everyone on board, and takes the flight off the board first, so that
    /// nobody boards one that is over.
    pub fn land(self, answer: V) {
        for passenger in self.leave() {
            // Who has hung up needs none.
            passenger.send(answer.clone()).ok();
        }
    }
}

impl<K: Eq + Hash, T, V> Pilot<K, T, V> {
    /// Takes the flight off the board, and gives those on board.
    fn leave(&self) -> Vec<oneshot::Sender<V>> {
        let mut board = lock(&self.board);
        let Some(flights) = board.by_key.get_mut(&self.key) else { return Vec::new() };
        let place = flights.iter().position(|flight| flight.number == self.number);
        let passengers = place.map(|place| flights.remove(place).passengers);
        if flights.is_empty() {
            board.by_key.remove(&self.key);
        }
        passengers.unwrap_or_default()
    }
}

impl<K: Eq + Hash, T, V> Drop for Pilot<K, T, V> {
    /// A task that panicked or was stopped takes its flight with it; the passengers see it end.
    fn drop(&mut self) {
        drop(self.leave());
    }
}

impl<V> Passenger<V> {
    /// The answer; `None` if the flight was lost.
    pub async fn wait(self) -> Option<V> {
        self.0.await.ok()
    }
}

/// Never held across an `await`, and nothing panics while it is held.
fn lock<K, T, V>(board: &Mutex<Board<K, T, V>>) -> MutexGuard<'_, Board<K, T, V>> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Test = Flights<&'static str, u8, u32>;

    fn pilot(seat: Seat<&'static str, u8, u32>) -> Pilot<&'static str, u8, u32> {
        match seat {
            Seat::Pilot(pilot) => pilot,
            Seat::Passenger(_) => panic!("somebody flies already"),
        }
    }

    fn passenger(seat: Seat<&'static str, u8, u32>) -> Passenger<u32> {
        match seat {
            Seat::Passenger(passenger) => passenger,
            Seat::Pilot(_) => panic!("nobody flies"),
        }
    }

    #[tokio::test]
    async fn everyone_on_board_gets_the_one_answer() {
        let flights = Test::default();
        let first = pilot(flights.board(&"app", 1, |tag| *tag == 1));
        let others: Vec<_> =
            (0..99).map(|_| passenger(flights.board(&"app", 1, |tag| *tag == 1))).collect();

        first.land(7);

        for other in others {
            assert_eq!(other.wait().await, Some(7));
        }
    }

    #[tokio::test]
    async fn a_tag_that_does_not_suit_flies_alone() {
        let flights = Test::default();
        let _first = pilot(flights.board(&"app", 1, |tag| *tag == 1));

        let _second = pilot(flights.board(&"app", 2, |tag| *tag == 2));
        let _elsewhere = pilot(flights.board(&"other", 1, |tag| *tag == 1));

        passenger(flights.board(&"app", 2, |tag| *tag == 2));
    }

    #[tokio::test]
    async fn a_lost_flight_strands_nobody_and_leaves_nothing_behind() {
        let flights = Test::default();
        let first = pilot(flights.board(&"app", 1, |_| true));
        let waiting = passenger(flights.board(&"app", 1, |_| true));

        drop(first);

        assert_eq!(waiting.wait().await, None);
        assert!(lock(&flights.0).by_key.is_empty());
    }

    #[tokio::test]
    async fn a_flight_that_has_landed_is_not_boarded() {
        let flights = Test::default();
        pilot(flights.board(&"app", 1, |_| true)).land(1);

        pilot(flights.board(&"app", 1, |_| true)).land(2);

        assert!(lock(&flights.0).by_key.is_empty());
    }
}
