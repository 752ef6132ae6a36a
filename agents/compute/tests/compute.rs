//! The executor of machines, with libvirt's simulated hypervisor and with a real one.

mod compute {
    mod lab;
    mod private;
    mod simulated;
}
