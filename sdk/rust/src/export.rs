//! How an author's type becomes the exports of a component: one macro per role.
//!
//! Only for `wasm`: natively the names of exports (with `:` in them) would not link, and tests need none.

use std::marker::PhantomData;

use crate::bindings::scheduler::exports::symphony::plugin::{explain, policy};
use crate::scheduler::{Batch, Decisions, Delta, Descriptor, Error, RawScheduler, Snapshot, Stamp, Verdict};

/// Where the one plugin of a component lives. Implemented by the export macros.
#[doc(hidden)]
pub trait Home: 'static {
    /// What lives there.
    type Plugin;
    /// The version of the author's crate.
    const VERSION: &'static str;

    /// Calls it.
    fn home<R>(call: impl FnOnce(&mut Self::Plugin) -> R) -> R;

    /// Comes before every call.
    fn arrive() {
        #[cfg(target_family = "wasm")]
        crate::log::report_panics();
    }

    /// Calls it, having arrived.
    fn with<R>(call: impl FnOnce(&mut Self::Plugin) -> R) -> R {
        Self::arrive();
        Self::home(call)
    }
}

/// The scheduler that lives in a component.
#[doc(hidden)]
pub struct ExportedScheduler<H>(PhantomData<H>);

impl<H> policy::Guest for ExportedScheduler<H>
where
    H: Home,
    H::Plugin: RawScheduler,
{
    fn describe() -> Descriptor {
        H::arrive();
        Descriptor {
            version: H::VERSION.to_owned(),
            ..H::Plugin::describe()
        }
    }

    fn configure(json: String) -> Result<(), Error> {
        H::with(|scheduler| scheduler.configure(&json))
    }

    fn load(snapshot: Snapshot) -> Result<Stamp, Error> {
        H::with(|scheduler| scheduler.load(snapshot))
    }

    fn update(delta: Delta) -> Result<Stamp, Error> {
        H::with(|scheduler| scheduler.update(delta))
    }

    fn place(batch: Batch) -> Result<Decisions, Error> {
        H::with(|scheduler| scheduler.place(batch))
    }
}

impl<H> explain::Guest for ExportedScheduler<H>
where
    H: Home,
    H::Plugin: RawScheduler,
{
    fn explain(batch: Batch) -> Result<Vec<Verdict>, Error> {
        H::with(|scheduler| scheduler.explain(batch))
    }
}

/// Makes this crate a scheduler: `export_scheduler!(MyPolicy);` with a [`crate::Policy`] that has a `Default`.
#[macro_export]
macro_rules! export_scheduler {
    ($policy:ty) => {
        $crate::export_raw_scheduler!($crate::scheduler::Engine<$policy>);
    };
}

/// Makes this crate a scheduler that answers the host's calls itself: a [`crate::RawScheduler`] that has a `Default`.
#[macro_export]
macro_rules! export_raw_scheduler {
    ($scheduler:ty) => {
        $crate::__home!(
            $scheduler,
            $crate::RawScheduler,
            $crate::export::ExportedScheduler,
            scheduler
        );
    };
}

/// Makes this crate a volume driver: a [`crate::VolumeDriver`] that has a `Default`.
#[macro_export]
macro_rules! export_volume_driver {
    ($driver:ty) => {
        $crate::__home!(
            $driver,
            $crate::VolumeDriver,
            $crate::driver::volume::Exported,
            volume
        );
    };
}

/// Makes this crate an image driver: a [`crate::ImageDriver`] that has a `Default`.
#[macro_export]
macro_rules! export_image_driver {
    ($driver:ty) => {
        $crate::__home!(
            $driver,
            $crate::ImageDriver,
            $crate::driver::image::Exported,
            image
        );
    };
}

/// Makes this crate a machine driver: a [`crate::MachineDriver`] that has a `Default`.
#[macro_export]
macro_rules! export_machine_driver {
    ($driver:ty) => {
        $crate::__home!(
            $driver,
            $crate::MachineDriver,
            $crate::driver::machine::Exported,
            machine
        );
    };
}

/// Makes this crate a network driver: a [`crate::NetworkDriver`] that has a `Default`.
#[macro_export]
macro_rules! export_network_driver {
    ($driver:ty) => {
        $crate::__home!(
            $driver,
            $crate::NetworkDriver,
            $crate::driver::network::Exported,
            network
        );
    };
}

/// Makes this crate an export driver: a [`crate::ExportDriver`] that has a `Default`.
#[macro_export]
macro_rules! export_export_driver {
    ($driver:ty) => {
        $crate::__home!(
            $driver,
            $crate::ExportDriver,
            $crate::driver::export::Exported,
            exporting
        );
    };
}

/// Makes this crate a fence driver: a [`crate::FenceDriver`] that has a `Default`.
#[macro_export]
macro_rules! export_fence_driver {
    ($driver:ty) => {
        $crate::__home!(
            $driver,
            $crate::FenceDriver,
            $crate::driver::fence::Exported,
            fencing
        );
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __home {
    ($plugin:ty, $role:path, $exported:path, $world:ident) => {
        // Natively the type is checked and nothing is exported.
        #[cfg(not(target_family = "wasm"))]
        const _: () = {
            const fn is<T: $role + ::core::default::Default>() {}
            is::<$plugin>();
        };

        #[cfg(target_family = "wasm")]
        const _: () = {
            use $exported as Exported;

            struct Home;

            // One instance answers one call at a time, so one cell is enough.
            ::std::thread_local! {
                static PLUGIN: ::core::cell::RefCell<$plugin> =
                    ::core::cell::RefCell::new(<$plugin as ::core::default::Default>::default());
            }

            impl $crate::export::Home for Home {
                type Plugin = $plugin;
                const VERSION: &'static str = env!("CARGO_PKG_VERSION");

                fn home<R>(call: impl FnOnce(&mut $plugin) -> R) -> R {
                    PLUGIN.with_borrow_mut(call)
                }
            }

            type Plugin = Exported<Home>;
    $crate::bindings::$world::export!(Plugin with_types_in $crate::bindings::$world);
        };
    };
}
