"""Names of captures: in order, and in the folder of their account."""

from datetime import UTC, datetime

from trunkline.streaming.capture_names import CaptureName, folder_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_names_of_files_are_in_order_of_time_and_can_be_read_again() -> None:
    first, second = CaptureName(NOON, "a-1"), CaptureName(NOON, "a-1", 2)
    assert (first.file, second.file) == (
        "20260301T120000-a-1.capture.jsonl",
        "20260301T120000-a-1.002.capture.jsonl",
    )
    assert [CaptureName.parse(one.file) for one in (first, second)] == [first, second]
    for wrong in ("", "a.capture.jsonl", "20261301T120000-a.capture.jsonl", "20260301T120000-../a.capture.jsonl"):
        assert CaptureName.parse(wrong) is None


def test_an_account_has_a_folder_whatever_it_is_called() -> None:
    assert folder_of("61bf923e-5e4d-4595") == "61bf923e-5e4d-4595"
    for name in ("..", "../a", "/etc", "a/b", "", "é", "a" * 99):
        assert len(folder_of(name)) == 64
        assert folder_of(name).isalnum()
