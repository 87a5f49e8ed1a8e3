//! Who is next? A turn for each house that waits, in it a turn for each of its tenants, and within
//! a tenant first come, first served.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use crate::tenant::Tenant;

/// Those who wait, each with a `W` to call them by. Bounded: once it is full, whoever has most
/// gives way to whoever has less.
#[derive(Debug)]
pub(super) struct Line<W> {
    houses: Ring<Tenant, House<W>>,
    waiting: usize,
    most: usize,
    tickets: u64,
}

/// Where somebody stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Ticket {
    tenant: Tenant,
    number: u64,
}

/// Tenants that share one turn.
#[derive(Debug)]
struct House<W> {
    tenants: Ring<Tenant, Waiters<W>>,
    waiting: usize,
}

/// By ticket number: in the order in which they came.
type Waiters<W> = BTreeMap<u64, W>;

impl<W> Default for House<W> {
    fn default() -> Self {
        Self { tenants: Ring::default(), waiting: 0 }
    }
}

impl<W> Line<W> {
    /// Of at most `most`.
    pub(super) fn new(most: usize) -> Self {
        Self { houses: Ring::default(), waiting: 0, most, tickets: 0 }
    }

    /// Adds one who waits, and gives back who has to go for that. `None`: the line is full, and
    /// nobody has more in it than the newcomer would.
    pub(super) fn join(&mut self, tenant: Tenant, waiter: W) -> Option<(Ticket, Option<W>)> {
        let displaced = if self.waiting < self.most {
            None
        } else {
            let greediest = self.greediest(tenant)?;
            self.leave(greediest)
        };
        self.tickets += 1;
        let ticket = Ticket { tenant, number: self.tickets };
        let house = self.houses.seat(tenant.house());
        house.tenants.seat(tenant).insert(ticket.number, waiter);
        house.waiting += 1;
        self.waiting += 1;
        Some((ticket, displaced))
    }

    /// Takes out whose turn it is.
    pub(super) fn next(&mut self) -> Option<W> {
        let house = self.houses.whose()?;
        let tenants = &mut self.houses.get_mut(house)?.tenants;
        let tenant = tenants.whose()?;
        let (&number, _) = tenants.get(tenant)?.first_key_value()?;
        tenants.pass(tenant);
        self.houses.pass(house);
        self.leave(Ticket { tenant, number })
    }

    /// Takes out one who no longer waits; `None`: not in the line any more.
    pub(super) fn leave(&mut self, ticket: Ticket) -> Option<W> {
        let house = self.houses.get_mut(ticket.tenant.house())?;
        let waiters = house.tenants.get_mut(ticket.tenant)?;
        let waiter = waiters.remove(&ticket.number)?;
        if waiters.is_empty() {
            house.tenants.remove(ticket.tenant);
        }
        house.waiting -= 1;
        if house.waiting == 0 {
            self.houses.remove(ticket.tenant.house());
        }
        self.waiting -= 1;
        Some(waiter)
    }

    /// The newest of whoever has most in the line, if that is more than `newcomer` would have.
    fn greediest(&self, newcomer: Tenant) -> Option<Ticket> {
        let own = self.houses.get(newcomer.house());
        let (_, largest) = self.houses.iter().max_by_key(|(_, house)| house.waiting)?;
        let others = largest.waiting > own.map_or(0, |house| house.waiting) + 1;
        let house = if others { largest } else { own? };
        let (tenant, waiters) = house.tenants.iter().max_by_key(|(_, waiters)| waiters.len())?;
        let has = house.tenants.get(newcomer).map_or(0, BTreeMap::len);
        let (&number, _) = waiters.last_key_value()?;
        (others || waiters.len() > has + 1).then_some(Ticket { tenant, number })
    }
}

/// Members with something, each with one turn in a round; a newcomer's is the last.
#[derive(Debug)]
struct Ring<K, V> {
    turns: BTreeMap<u64, K>,
    seats: HashMap<K, (u64, V)>,
    last: u64,
}

impl<K, V> Default for Ring<K, V> {
    fn default() -> Self {
        Self { turns: BTreeMap::new(), seats: HashMap::new(), last: 0 }
    }
}

impl<K: Copy + Eq + Hash, V> Ring<K, V> {
    /// Whose turn it is.
    fn whose(&self) -> Option<K> {
        self.turns.first_key_value().map(|(_, member)| *member)
    }

    /// `member` has had its turn.
    fn pass(&mut self, member: K) {
        if let Some((turn, _)) = self.seats.get_mut(&member) {
            self.turns.remove(turn);
            self.last += 1;
            *turn = self.last;
            self.turns.insert(self.last, member);
        }
    }

    fn seat(&mut self, member: K) -> &mut V
    where
        V: Default,
    {
        let (_, seat) = self.seats.entry(member).or_insert_with(|| {
            self.last += 1;
            self.turns.insert(self.last, member);
            (self.last, V::default())
        });
        seat
    }

    fn get(&self, member: K) -> Option<&V> {
        self.seats.get(&member).map(|(_, seat)| seat)
    }

    fn get_mut(&mut self, member: K) -> Option<&mut V> {
        self.seats.get_mut(&member).map(|(_, seat)| seat)
    }

    fn remove(&mut self, member: K) {
        if let Some((turn, _)) = self.seats.remove(&member) {
            self.turns.remove(&turn);
        }
    }

    fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.seats.iter().map(|(member, (_, seat))| (*member, seat))
    }
}

#[cfg(test)]
mod tests;
