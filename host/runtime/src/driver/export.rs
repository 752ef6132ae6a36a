//! Exports, between core's types and those of `wit/export-driver.wit`.

use symphony_core::plan::export::{Exports, Fact, Intent, Probe, Settings, Step};

use crate::bindings::exporting::exports::symphony::plugin::export_driver as wit;

super::glue::glue!(Exports, wit);

fn settings_to(settings: &Settings) -> wit::Settings {
    wit::Settings {
        pool: settings.pool.clone(),
        name: settings.name.clone(),
        generation: settings.generation,
        listen: settings.listen.clone(),
        client: settings.client.clone(),
    }
}

fn settings_from(said: wit::Settings) -> Settings {
    Settings {
        pool: said.pool,
        name: said.name,
        generation: said.generation,
        listen: said.listen,
        client: said.client,
    }
}

fn intent(intent: &Intent) -> wit::Intent {
    wit::Intent {
        object: intent.object.clone(),
        goal: super::goal(intent.goal),
        settings: settings_to(&intent.settings),
    }
}

fn fact(fact: &Fact) -> wit::Fact {
    let Fact::Serving(fact) = fact;
    wit::Fact::Serving(wit::ServingFact {
        object: fact.object.clone(),
        floor: fact.floor,
        served: fact.served.as_ref().map(|served| wit::Served {
            settings: settings_to(&served.settings),
            port: served.port,
            connected: served.connected,
        }),
    })
}

fn probe(said: wit::Probe) -> Probe {
    let wit::Probe::Serving(object) = said;
    Probe::Serving(object)
}

fn step(said: wit::Step) -> Step {
    match said {
        wit::Step::Serve(wit::Serve { object, settings }) => Step::Serve {
            object,
            settings: settings_from(settings),
        },
        wit::Step::Stop(wit::Stop { object, generation }) => Step::Stop { object, generation },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_survive_the_way_there_and_back() {
        let settings = Settings {
            pool: "p".to_owned(),
            name: "v.3".to_owned(),
            generation: 3,
            listen: "10.0.0.1".to_owned(),
            client: "n2".to_owned(),
        };
        assert_eq!(settings_from(settings_to(&settings)), settings);
    }
}
