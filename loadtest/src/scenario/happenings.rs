//! What happens in a phase besides requests?

use std::time::Duration;

use vaultlet::config::document::{Field, Section};

use super::name::{Needed as _, one_of};
use super::{Happening, World};

/// The section `happens` of a phase that takes `duration`.
pub(super) fn happening(field: &Field<'_>, world: &World, duration: Duration) -> Happening {
    if !field.given() {
        return Happening::Nothing;
    }
    field.section(|section| {
        #[derive(Clone, Copy)]
        enum What {
            ColdStart,
            RollOut,
            Drain,
            Rotate,
            Outage,
            PolicyChange,
        }
        let known = [
            ("cold-start", What::ColdStart),
            ("roll-out", What::RollOut),
            ("drain", What::Drain),
            ("rotate", What::Rotate),
            ("outage", What::Outage),
            ("policy-change", What::PolicyChange),
        ];
        let what = section.needed("what", "add `what: roll-out`, for example").choice(&known);
        match what {
            Some(What::ColdStart) => Happening::ColdStart { over: over(section, duration) },
            Some(What::RollOut) => {
                let names: Vec<String> =
                    world.deployments.iter().map(|it| it.name.clone()).collect();
                let field = section.needed("deployment", "say which one, by its name");
                let deployment = one_of(&field, &names, "deployment");
                Happening::RollOut { deployment, over: over(section, duration) }
            }
            Some(What::Drain) => Happening::Drain { over: over(section, duration) },
            Some(What::Rotate) => {
                let names: Vec<String> = world.secrets.iter().map(|it| it.name.clone()).collect();
                let field = section.needed("secrets", "say which ones, by the name of their set");
                let secrets = one_of(&field, &names, "set of secrets");
                let share = section.field("share").share_in(0.0..=1.0).unwrap_or(1.0);
                Happening::Rotate { secrets, share, over: over(section, duration) }
            }
            Some(What::Outage) => Happening::Outage,
            Some(What::PolicyChange) => Happening::PolicyChange,
            // Asked for, so that they are not reported as unknown besides.
            None => {
                for name in ["over", "deployment", "secrets", "share"] {
                    section.field(name);
                }
                Happening::Nothing
            }
        }
    })
}

/// How long it takes; at once without it.
fn over(section: &Section<'_>, duration: Duration) -> Duration {
    let field = section.field("over");
    let over = field.duration_up_to(Duration::from_hours(24)).unwrap_or_default();
    if over > duration {
        field.complain("longer than the phase", "make it shorter, or `duration` longer");
    }
    over
}
