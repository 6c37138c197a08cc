"""Staff of a world with real money: nobody comes in by one tap."""

from typing import Any

from web.live_worlds import world

__all__ = ["world"]  # a fixture, found here by its name


async def test_nobody_taps_into_a_live_world(visitors: Any, new_member: Any) -> None:
    member = await new_member("Mei")
    stranger = visitors.stranger("staff")
    text = (await stranger.get("/sign-in")).text
    assert "one-tap" not in text
    assert member.text_id not in text
    refused = await stranger.send_form("/sign-in/one-tap", member=member.text_id)
    assert refused.status_code == 403
    assert "set-cookie" not in refused.headers
