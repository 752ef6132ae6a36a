//! The executor of machines, with libvirt's simulated hypervisor and with a real one.

#![expect(clippy::unwrap_used, reason = "a test fails where it is")]

mod compute {
    mod crash;
    mod exclusive;
    mod lab;
    mod libvirtd;
    mod linux;
    mod private;
    mod remote;
    mod simulated;
    mod unreadable;
    mod viewers;
}
