//! One domain of libvirt's, asked and changed by plain calls that block. Each runs on the connection's thread; none waits for
//! a guest.

use symphony_core::plan::machine::{DeviceModel, Exit, RunState};
use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::{Error as VirtError, ErrorNumber};
use virt::sys;

use crate::domain::{Live, NAMESPACE, Noted, PREFIX};
use crate::executor::Error;

/// What libvirt knows of a domain.
#[derive(Debug)]
pub(crate) struct Seen {
    pub noted: Noted,
    pub state: RunState,
    pub live: Live,
}

/// The domain of a machine; nothing when libvirt does not know it.
pub(crate) fn find(connect: &Connect, object: &str) -> Result<Option<Domain>, VirtError> {
    match Domain::lookup_by_name(connect, object) {
        Ok(domain) => Ok(Some(domain)),
        Err(error) if error.code() == ErrorNumber::NoDomain => Ok(None),
        Err(error) => Err(error),
    }
}

/// What libvirt knows of a machine; nothing when it does not know it, or knows a domain of that name that is not ours.
/// What is there and can't be read is an error: taken for nothing, a running machine would be made anew, or forgotten.
pub(crate) fn see(connect: &Connect, object: &str) -> Result<Result<Option<Seen>, Error>, VirtError> {
    let Some(domain) = find(connect, object)? else {
        return Ok(Ok(None));
    };
    let noted = match noted(&domain)? {
        Ok(Some(noted)) => noted,
        Ok(None) => return Ok(Ok(None)),
        Err(error) => return Ok(Err(error)),
    };
    let state = state(&domain, noted.ordered)?;
    let live = match state {
        RunState::Off(_) => Live::default(),
        RunState::Running | RunState::Paused => match Live::read(&domain.get_xml_desc(0)?) {
            Some(live) => live,
            None => return Ok(Err(unreadable(&domain)?)),
        },
    };
    Ok(Ok(Some(Seen { noted, state, live })))
}

/// What was noted with a domain; nothing when it is not ours.
pub(crate) fn noted(domain: &Domain) -> Result<Result<Option<Noted>, Error>, VirtError> {
    let kind = sys::VIR_DOMAIN_METADATA_ELEMENT.cast_signed();
    match domain.get_metadata(kind, Some(NAMESPACE), sys::VIR_DOMAIN_AFFECT_CONFIG) {
        Ok(element) => match Noted::read(&element) {
            Some(noted) => Ok(Ok(Some(noted))),
            None => Ok(Err(unreadable(domain)?)),
        },
        Err(error) if error.code() == ErrorNumber::NoDomainMetadata => Ok(Ok(None)),
        Err(error) => Err(error),
    }
}

fn unreadable(domain: &Domain) -> Result<Error, VirtError> {
    Ok(Error::Unreadable {
        machine: domain.get_name()?,
    })
}

/// Replaces what is noted with a domain. `element` is from [`crate::domain::element`].
pub(crate) fn note(domain: &Domain, element: &str) -> Result<(), VirtError> {
    let kind = sys::VIR_DOMAIN_METADATA_ELEMENT.cast_signed();
    let flags = sys::VIR_DOMAIN_AFFECT_CONFIG;
    domain.set_metadata(kind, Some(element), Some(PREFIX), Some(NAMESPACE), flags)?;
    Ok(())
}

/// Refuses volumes of which another domain has one, or may have one.
pub(crate) fn untaken(connect: &Connect, object: &str, volumes: &[String]) -> Result<Result<(), Error>, VirtError> {
    for domain in connect.list_all_domains(0)? {
        // One that goes away while we look has nothing any more.
        let noted = match noted(&domain) {
            Err(error) if error.code() == ErrorNumber::NoDomain => continue,
            other => other?,
        };
        let other = match noted {
            Ok(Some(noted)) if noted.description.object != object => noted.description,
            Ok(_) => continue,
            Err(error) => return Ok(Err(error)),
        };
        let mut theirs = other.disks.into_iter().map(|device| device.disk.volume);
        if let Some(volume) = theirs.find(|volume| volumes.contains(volume)) {
            let machine = other.object;
            return Ok(Err(Error::Taken { volume, machine }));
        }
    }
    Ok(Ok(()))
}

pub(crate) fn state(domain: &Domain, ordered: bool) -> Result<RunState, VirtError> {
    let (state, reason) = domain.get_state()?;
    Ok(match state {
        sys::VIR_DOMAIN_RUNNING | sys::VIR_DOMAIN_BLOCKED | sys::VIR_DOMAIN_SHUTDOWN => RunState::Running,
        sys::VIR_DOMAIN_PAUSED | sys::VIR_DOMAIN_PMSUSPENDED => RunState::Paused,
        sys::VIR_DOMAIN_CRASHED => RunState::Off(Exit::Crashed),
        _ => RunState::Off(exit(reason.cast_unsigned(), ordered)),
    })
}

/// libvirt does not tell a guest that went by itself from one whose power button was pressed: we noted who pressed it.
const fn exit(reason: u32, ordered: bool) -> Exit {
    match reason {
        sys::VIR_DOMAIN_SHUTOFF_SHUTDOWN if !ordered => Exit::Guest,
        sys::VIR_DOMAIN_SHUTOFF_SHUTDOWN | sys::VIR_DOMAIN_SHUTOFF_DESTROYED => Exit::Ordered,
        sys::VIR_DOMAIN_SHUTOFF_CRASHED => Exit::Crashed,
        sys::VIR_DOMAIN_SHUTOFF_FAILED => Exit::Failed,
        _ => Exit::NeverRan,
    }
}

/// How a disk that is attached looks: what its libvirt name starts with.
pub(crate) fn free_target(live: &Live, model: DeviceModel) -> Option<String> {
    live.free_target(crate::domain::names(model))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_ended_it_is_told_by_reason_and_note() {
        assert_eq!(exit(sys::VIR_DOMAIN_SHUTOFF_UNKNOWN, true), Exit::NeverRan);
        assert_eq!(exit(sys::VIR_DOMAIN_SHUTOFF_SHUTDOWN, false), Exit::Guest);
        assert_eq!(exit(sys::VIR_DOMAIN_SHUTOFF_SHUTDOWN, true), Exit::Ordered);
        assert_eq!(exit(sys::VIR_DOMAIN_SHUTOFF_DESTROYED, false), Exit::Ordered);
        assert_eq!(exit(sys::VIR_DOMAIN_SHUTOFF_CRASHED, true), Exit::Crashed);
        assert_eq!(exit(sys::VIR_DOMAIN_SHUTOFF_FAILED, false), Exit::Failed);
    }
}
