"""What `up` says at its end: where, who, and what to try next, in at most 25 lines."""

from deploy.stack.stack import Stack

# Whom `seed_demo` makes: login, host, what they see.
PEOPLE = (
    ("ben", "kunlun", "fleet manager of Harbour Taxi: start here, a connector is ageing"),
    ("anna", "kunlun", "engineer at Kunlun, who made the connectors"),
    ("otto", "aurora", "engineer at Aurora, another manufacturer: sees nothing of the above"),
    ("operator", "", "runs the platform"),
)


def farewell(stack: Stack, *, seconds: float) -> str:
    web = stack.ports.web
    lines = [f"\nOhmwatch is up ({seconds:.0f} s).\n"]
    for login, host, role in PEOPLE:
        name = f"{host}.localhost" if host else "localhost"
        lines.append(f"  {f'http://{name}:{web}/':32} {login:9} {role}")
    lines += [
        f"  {f'http://localhost:{stack.ports.inbox}/':32} {'':9} emails and SMS that were sent",
        f"\n  Everyone's demo password: {stack.credentials['demo_password']}",
        "\nTry next:",
        "  1. Sign in as ben and wait: the first alarm comes within five minutes, no reload.",
        "  2. ./ohmwatch demo list           and  ./ohmwatch demo fault loose demo",
        "  3. ./ohmwatch status              ./ohmwatch logs web -f        ./ohmwatch account",
        "  4. ./ohmwatch down                ends it all; `up` brings it back with its data",
        f"\nMQTT for devices: mqtt://{stack.near}:{stack.ports.mqtt_devices}; see docs/devices/.",
    ]
    return "\n".join(lines)
