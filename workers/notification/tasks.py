"""The tasks of the notification worker, a file each, where Celery looks for them."""

from workers.notification.deliver import deliver
from workers.notification.sweep import sweep

__all__ = ["deliver", "sweep"]
