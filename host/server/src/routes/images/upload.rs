//! From bytes to an image's record. Whatever is wrong with the name is found before the first byte is read; whatever is
//! wrong with the bytes gives the upload up.

use axum::body::HttpBody as _;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use symphony_api::Code;
use symphony_control::clock;
use symphony_core::digest::Digest;
use symphony_core::id::{ImageId, UploadId};
use symphony_core::image::{Format, Image, ImageSpec, ImageStatus};
use symphony_core::keys;
use symphony_core::labels::Labels;
use symphony_core::meta::Meta;
use symphony_core::name::Name;
use symphony_core::plan::image::{DetectedFormat, Upload};
use symphony_core::project::{Resource, Usage};
use symphony_core::quantity::{Bytes, VOLUME_BYTES_MAX};
use symphony_store::{Compare, Txn};

use super::transfer::DataPort;
use crate::app::App;
use crate::event::{Records as _, about, event};
use crate::failure::{Answer, Failure};
use crate::input::Check;
use crate::quota;
use crate::reading::{Stored, load};
use crate::routes::{TRIES, crowded, object};

/// Streams an image to an image service and puts it on record.
pub(super) async fn upload(
    app: &App,
    project: Name,
    name: &str,
    sha256: Option<&str>,
    request: Request,
) -> Answer<Response> {
    let mut check = Check::default();
    let name = check.take("name", name.parse::<Name>());
    let sha256 = sha256.map(|digits| check.take("sha256", digits.parse::<Digest>()));
    check.end()?;
    let (Some(name), sha256) = (name, sha256.flatten()) else {
        return Err(Failure::new(Code::InvalidArgument, "a value is not acceptable"));
    };
    // Before the first byte, so that none is sent in vain; and again when it is put on record.
    quota::for_new(&*app.store, &project, &one()).await?;
    if load::<Image>(&*app.store, &keys::image(&project, &name))
        .await?
        .is_some()
    {
        return Err(taken(&name, &project));
    }
    if request.body().is_end_stream() {
        return Err(empty());
    }
    let service = app.image_service().await?;
    let (node, data_url) = service.ok_or_else(|| {
        Failure::new(
            Code::NoImageService,
            "no agent with the role `image` has a session; start one and try again",
        )
    })?;
    let busy = |_| {
        Failure::new(
            Code::TooManyRequests,
            "as many images as may be are being uploaded; try again",
        )
    };
    let seat = app.seats.uploads.clone().try_acquire_owned().map_err(busy)?;

    // Goes on to its end when the client goes away: a whole upload is put on record, half a one is given up.
    let (own, tasks) = (app.clone(), app.tasks.clone());
    let taking = tasks.spawn(async move {
        let port = DataPort::new(&own, node, &data_url, UploadId::new(clock::new_uuid()))?;
        let taken = take(&own, &port, project, name, sha256, request).await;
        drop(seat);
        taken
    });
    let failed = |_| {
        Failure::new(
            Code::Internal,
            "the upload met a fault of the manager; its log has more",
        )
    };
    let stored = taking.await.map_err(failed)??;
    let mut response = object(StatusCode::CREATED, &super::wire(&stored), stored.revision.0);
    let meta = &stored.value.meta;
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/projects/{}/images/{}", meta.project, meta.name)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

async fn take(
    app: &App,
    port: &DataPort,
    project: Name,
    name: Name,
    sha256: Option<Digest>,
    request: Request,
) -> Answer<Stored<Image>> {
    let upload = match port.put(request, sha256).await {
        Ok(upload) => upload,
        Err(failure) => {
            port.give_up().await;
            return Err(failure);
        }
    };
    let format = match acceptable(&upload, sha256) {
        Ok(format) => format,
        Err(failure) => {
            port.give_up().await;
            return Err(failure);
        }
    };
    symphony_crash::point("api.image.create.before_commit");
    let meta = Meta::new(
        ImageId::new(clock::new_uuid()),
        project,
        name,
        Labels::default(),
        clock::now(),
    );
    let spec = ImageSpec {
        digest: upload.digest,
        stored_bytes: upload.stored_bytes,
        format,
        virtual_bytes: upload.header.virtual_bytes,
        node: port.node().clone(),
        upload: port.upload(),
    };
    let image = Image {
        meta,
        spec,
        status: ImageStatus::pending(),
    };
    match put_on_record(app, image).await {
        // What the store did with it is not known then: the bytes stay.
        Err(failure) if failure.0.code != Code::StoreUnavailable => {
            port.give_up().await;
            Err(failure)
        }
        done => done,
    }
}

async fn put_on_record(app: &App, image: Image) -> Answer<Stored<Image>> {
    let (project, name) = (&image.meta.project, &image.meta.name);
    for _ in 0..TRIES {
        let room = quota::for_new(&*app.store, project, &one()).await?;
        let result = app.store.txn(store_image(room.hold(Txn::new()), &image)?).await?;
        symphony_crash::point("api.image.create.after_commit");
        if result.succeeded {
            let revision = result.revision;
            return Ok(Stored { value: image, revision });
        }
        if load::<Image>(&*app.store, &keys::image(project, name)).await?.is_some() {
            return Err(taken(name, project));
        }
    }
    Err(crowded())
}

fn one() -> Usage {
    Usage::default().with(Resource::Images, 1)
}

/// What of an upload can be an image.
fn acceptable(upload: &Upload, sha256: Option<Digest>) -> Answer<Format> {
    let refused = |detail: String| Err(Failure::new(Code::ImageRefused, detail));
    if sha256.is_some_and(|sha256| sha256 != upload.digest) {
        let detail = format!("the bytes have the digest {}", upload.digest);
        return Err(Failure::field(Code::DigestMismatch, "sha256", detail));
    }
    if upload.stored_bytes == 0 {
        return Err(empty());
    }
    if !upload.header.refused.is_empty() {
        return refused(format!(
            "the image is not whole in itself: {}",
            upload.header.refused.join("; ")
        ));
    }
    let disk = upload.header.virtual_bytes;
    if disk == 0 || disk > VOLUME_BYTES_MAX {
        return refused(format!(
            "the image describes a disk of {}, and no volume has that size",
            Bytes(disk)
        ));
    }
    match upload.header.format {
        DetectedFormat::Raw => Ok(Format::Raw),
        DetectedFormat::Qcow2 => Ok(Format::Qcow2),
        DetectedFormat::Unsupported => {
            refused("the image has a format that is not taken; convert it to qcow2 or raw".to_owned())
        }
    }
}

fn store_image(txn: Txn, image: &Image) -> Answer<Txn> {
    let (id, digest) = (image.meta.id, &image.spec.digest);
    let key = keys::image(&image.meta.project, &image.meta.name);
    let message = format!("{} of {} were taken in", Bytes(image.spec.stored_bytes), digest);
    let txn = txn.when(Compare::absent(&key)).record(key.clone(), image)?;
    let txn = txn
        .put(keys::image_id(id), key.as_bytes().to_vec())
        .put(keys::blob_use(digest, id), key.into_bytes());
    Ok(txn.tell(&event("created", about("image", &image.meta), message))?)
}

fn empty() -> Failure {
    Failure::new(Code::ImageRefused, "the image has no bytes")
}

fn taken(name: &Name, project: &Name) -> Failure {
    Failure::field(
        Code::AlreadyExists,
        "name",
        format!("there is an image {name} in project {project} already"),
    )
}
