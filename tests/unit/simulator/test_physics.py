"""The simulated contacts obey the numbers on their data sheet."""

import numpy as np
import pytest

from workers.simulator.physics import MELTED_C, Contacts, thermal_resistance_of

RATED_A, RISE_K, NEW_UOHM = 250.0, 40.0, 120.0
AIR_C = np.array([20.0])


@pytest.fixture
def contacts() -> Contacts:
    rth = thermal_resistance_of(
        rise_rated_k=RISE_K, rated_current_a=RATED_A, resistance_uohm=NEW_UOHM
    )
    return Contacts(
        resistance_uohm=np.full((1, 2), NEW_UOHM),
        thermal_resistance_k_per_w=np.array([rth]),
        time_constants_s=np.array([[80.0, 780.0]]),
    )


def run(contacts: Contacts, *, share: float, seconds: float, **factors: object) -> np.ndarray:
    for _ in range(int(seconds / 5)):
        hot_c = contacts.step(
            current_a=np.array([share * RATED_A]), ambient_c=AIR_C, seconds=5.0, **factors
        )
    return hot_c[0]


def test_a_new_contact_at_rated_current_rises_as_rated(contacts: Contacts) -> None:
    hot_c = run(contacts, share=1.0, seconds=8 * 780)
    assert hot_c == pytest.approx([20.0 + RISE_K] * 2, abs=0.1)


def test_half_the_current_rises_by_less_than_a_quarter(contacts: Contacts) -> None:
    """Colder copper conducts better, so it is under the square law."""
    rise_k = run(contacts, share=0.5, seconds=8 * 780)[0] - 20.0
    assert 0.20 * RISE_K < rise_k < 0.25 * RISE_K


def test_the_first_minutes_belong_to_the_contact_itself(contacts: Contacts) -> None:
    rise_k = run(contacts, share=1.0, seconds=80)[0] - 20.0
    assert 0.20 * RISE_K < rise_k < 0.40 * RISE_K


def test_a_step_may_be_longer_than_a_time_constant(contacts: Contacts) -> None:
    contacts.step(current_a=np.array([RATED_A]), ambient_c=AIR_C, seconds=300.0)
    for _ in range(40):
        hot_c = contacts.step(current_a=np.array([RATED_A]), ambient_c=AIR_C, seconds=300.0)
    assert hot_c[0, 0] == pytest.approx(20.0 + RISE_K, abs=0.2)


def test_only_the_worse_pole_gets_hotter(contacts: Contacts) -> None:
    hot_c = run(contacts, share=1.0, seconds=3000, resistance_factor=np.array([[2.0, 1.0]]))
    assert hot_c[0] > hot_c[1] + 0.8 * RISE_K
    assert hot_c[1] == pytest.approx(20.0 + RISE_K, abs=2.0)


def test_lost_cooling_heats_both(contacts: Contacts) -> None:
    hot_c = run(contacts, share=1.0, seconds=9000, cooling_factor=np.array([2.0]))
    assert (hot_c - 20.0 > 1.9 * RISE_K).all()


def test_nothing_gets_hotter_than_it_can(contacts: Contacts) -> None:
    hot_c = run(contacts, share=1.0, seconds=9000, resistance_factor=np.array([[50.0, 1.0]]))
    assert hot_c[0] == MELTED_C


def test_without_current_it_cools_to_the_air(contacts: Contacts) -> None:
    run(contacts, share=1.0, seconds=3000)
    assert run(contacts, share=0.0, seconds=8 * 780) == pytest.approx([20.0, 20.0], abs=0.1)


def test_a_new_contact_is_cold(contacts: Contacts) -> None:
    run(contacts, share=1.0, seconds=3000)
    contacts.renew(0)
    assert contacts.temperature_c(AIR_C)[0] == pytest.approx([20.0, 20.0])
