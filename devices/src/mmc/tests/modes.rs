// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Mode pages.
use super::*;

const CURRENT: u8 = 0x00;
const CHANGEABLE: u8 = 0x40;
const DEFAULT: u8 = 0x80;
const SAVED: u8 = 0xc0;

const BAD_PARAMETER: Code = (5, 0x26, 0);
const BAD_LENGTH: Code = (5, 0x1a, 0);

fn sense_10(page: u8) -> [u8; 9] {
    [0x5a, 0, page, 0, 0, 0, 0, 1, 0]
}

/// The page alone.
fn page(host: &mut Host, page: u8) -> Vec<u8> {
    host.ok(&sense_10(page))[8..].to_vec()
}

fn select_10(host: &mut Host, pages: &[u8]) -> Result<(), Code> {
    let mut list = vec![0; 8];
    list.extend(pages);
    let [high, low] = (list.len() as u16).to_be_bytes();
    host.send(&[0x55, 0x10, 0, 0, 0, 0, 0, high, low], &list)
}

#[test]
fn headers() {
    let mut host = Host::small();
    let ten = host.ok(&sense_10(0x01));
    assert_eq!(ten[..8], [0, 18, 0x01, 0, 0, 0, 0, 0]);
    let six = host.ok(&[0x1a, 0, 0x01, 0, 0xff]);
    assert_eq!(six[..4], [15, 0x01, 0, 0]);
    assert_eq!(six[4..], ten[8..]);
    assert_eq!(host.ok(&[0x5a, 0, 1, 0, 0, 0, 0, 0, 10]), ten[..10]);
    assert_eq!(host.ok(&[0x1a, 0, 1, 0, 0]), []);
    assert_eq!(Host::empty().ok(&sense_10(1))[2], 0x70);
    assert_eq!(Host::dvd().ok(&sense_10(1))[2], 0);
}

#[test]
fn error_recovery() {
    let mut host = Host::small();
    assert_eq!(page(&mut host, 0x01), [1, 10, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(
        page(&mut host, CHANGEABLE | 0x01),
        [1, 10, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]
    );
}

#[test]
fn capabilities() {
    let mut host = Host::small();
    #[rustfmt::skip]
    let mut expected = [
        0x2a, 0x18, 0x0f, 0, 0x70, 0, 0x29, 0,
        0x23, 0xc0, 0, 0, 0x02, 0x00, 0x23, 0xc0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    assert_eq!(page(&mut host, 0x2a), expected);
    host.ok(&[0x1e, 0, 0, 0, 1]);
    host.ok(&[0xbb, 0, 0x02, 0xc1]);
    expected[6] |= 2;
    expected[14..16].copy_from_slice(&[0x02, 0xc1]);
    assert_eq!(page(&mut host, 0x2a), expected);
    assert!(
        page(&mut host, CHANGEABLE | 0x2a)[2..]
            .iter()
            .all(|byte| *byte == 0)
    );
    // As fast as it can.
    host.ok(&[0xbb, 0, 0xff, 0xff]);
    assert_eq!(page(&mut host, 0x2a)[14..16], [0x23, 0xc0]);
    assert_eq!(host.check(&[0xbb, 2, 0xff, 0xff]), INVALID_FIELD);
}

#[test]
fn all_pages_in_order() {
    let mut host = Host::small();
    let pages = page(&mut host, 0x3f);
    let mut codes = Vec::new();
    let mut at = 0;
    while at < pages.len() {
        let single = page(&mut host, pages[at]);
        assert_eq!(pages[at..at + single.len()], single);
        codes.push(pages[at]);
        at += single.len();
    }
    assert_eq!(codes, [0x01, 0x0d, 0x0e, 0x1a, 0x1d, 0x2a]);
    let six = host.ok(&[0x1a, 0, 0x3f, 0, 0xff]);
    assert_eq!(usize::from(six[0]) + 1, six.len());
}

#[test]
fn what_cannot_be_sensed() {
    let mut host = Host::small();
    assert_eq!(host.check(&sense_10(SAVED | 0x01)), (5, 0x39, 0));
    assert_eq!(host.check(&sense_10(0x08)), INVALID_FIELD);
    assert_eq!(host.check(&[0x5a, 0, 1, 1, 0, 0, 0, 0, 255]), INVALID_FIELD);
    host.ok(&[0x5a, 0, 0x3f, 0xff, 0, 0, 0, 0, 255]);
}

#[test]
fn a_changed_page() {
    let mut host = Host::small();
    let mut audio = page(&mut host, 0x0e);
    audio[9] = 0x40;
    audio[11] = 0x20;
    assert_eq!(select_10(&mut host, &audio), Ok(()));
    assert_eq!(page(&mut host, CURRENT | 0x0e), audio);
    assert_eq!(page(&mut host, DEFAULT | 0x0e)[9..12], [0xff, 2, 0xff]);
    // A device reset keeps it, power-on does not.
    host.drive.abort();
    assert_eq!(page(&mut host, 0x0e), audio);
    host.drive.reset();
    host.sense();
    assert_eq!(page(&mut host, 0x0e)[9], 0xff);
}

#[test]
fn six_byte_select_with_a_block_descriptor() {
    let mut host = Host::small();
    let mut list = vec![0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 8, 0];
    let command = |len: usize| [0x15, 0x10, 0, 0, len as u8];
    assert_eq!(host.send(&command(list.len()), &list), Ok(()));
    list[10] = 2;
    assert_eq!(host.send(&command(list.len()), &list), Err(BAD_PARAMETER));
    assert_eq!(host.send(&command(8), &list[..8]), Err(BAD_LENGTH));
    list[3] = 7;
    assert_eq!(host.send(&command(list.len()), &list), Err(BAD_PARAMETER));
}

#[test]
fn one_bad_page_spoils_them_all() {
    let mut host = Host::small();
    let mut list = page(&mut host, 0x01);
    list[3] = 9;
    let mut capabilities = page(&mut host, 0x2a);
    let good = [list.clone(), capabilities.clone()].concat();
    capabilities[2] ^= 1;
    let bad = [list.clone(), capabilities].concat();
    assert_eq!(select_10(&mut host, &bad), Err(BAD_PARAMETER));
    assert_eq!(page(&mut host, 0x01)[3], 5);
    // A read-only page that is sent back as it was does no harm.
    assert_eq!(select_10(&mut host, &good), Ok(()));
    assert_eq!(page(&mut host, 0x01)[3], 9);
}

#[test]
fn the_field_pointer_counts_in_the_parameter_list() {
    let mut host = Host::small();
    let mut list = vec![0; 8];
    list.extend(page(&mut host, 0x0d));
    list[8 + 5] = 61;
    let reply = host.start(&[0x55, 0x10, 0, 0, 0, 0, 0, 0, 16]);
    assert_eq!(reply, Reply::DataOut { len: 16 });
    assert_eq!(host.drive.push(&list), Status::CheckCondition { sense_key: 5 });
    assert_eq!(host.sense_bytes()[12..], [0x26, 0, 0, 0x80, 0, 13]);
}

#[test]
fn what_cannot_be_selected() {
    let mut host = Host::small();
    // Not in page format; to be saved.
    assert_eq!(host.check(&[0x55, 0, 0, 0, 0, 0, 0, 0, 8]), INVALID_FIELD);
    assert_eq!(host.check(&[0x55, 0x11, 0, 0, 0, 0, 0, 0, 8]), INVALID_FIELD);
    // Nothing.
    assert_eq!(host.ok(&[0x55, 0x10]), []);
    assert_eq!(select_10(&mut host, &[]), Ok(()));
    // Half a page, a page of the wrong length, a page that does not exist, a bit that cannot change.
    let recovery = page(&mut host, 0x01);
    assert_eq!(select_10(&mut host, &recovery[..11]), Err(BAD_LENGTH));
    assert_eq!(select_10(&mut host, &[1]), Err(BAD_LENGTH));
    assert_eq!(
        select_10(&mut host, &[1, 6, 0, 5, 0, 0, 0, 0]),
        Err(BAD_PARAMETER)
    );
    assert_eq!(select_10(&mut host, &[8, 2, 0, 0]), Err(BAD_PARAMETER));
    assert_eq!(
        select_10(&mut host, &[0x0d, 6, 0, 0x10, 0, 60, 0, 75]),
        Err(BAD_PARAMETER)
    );
    // The host sent less than it said.
    host.start(&[0x55, 0x10, 0, 0, 0, 0, 0, 0, 20]);
    assert_eq!(host.drive.push(&[0; 8]), Status::CheckCondition { sense_key: 5 });
    assert_eq!(host.sense(), BAD_LENGTH);
}

#[test]
fn data_that_nobody_asked_for_is_a_sequence_error() {
    let mut host = Host::small();
    assert_eq!(host.drive.push(&[0; 8]), Status::CheckCondition { sense_key: 5 });
    assert_eq!(host.sense(), (5, 0x2c, 0));
    host.start(&[0x55, 0x10, 0, 0, 0, 0, 0, 0, 20]);
    assert_eq!(
        host.drive.pull(8),
        Pull::End(Status::CheckCondition { sense_key: 5 })
    );
    assert_eq!(host.sense(), (5, 0x2c, 0));
}
