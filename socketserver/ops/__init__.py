"""Who watches: metrics, the monitor and its page, admin access, the Socket.IO Admin UI."""
