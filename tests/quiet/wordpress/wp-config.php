<?php
define('DB_NAME', getenv('WORDPRESS_DB_NAME') ?: 'app');
define('DB_USER', getenv('WORDPRESS_DB_USER') ?: 'app');
define('DB_PASSWORD', getenv('WORDPRESS_DB_PASSWORD') ?: 'quiet');
define('DB_HOST', getenv('WORDPRESS_DB_HOST') ?: '127.0.0.1');
define('DB_CHARSET', 'utf8'); define('DB_COLLATE', '');
define('AUTH_KEY', 'put your unique phrase here');
$table_prefix = 'wp_';
if (!defined('ABSPATH')) { define('ABSPATH', __DIR__ . '/'); }
require_once ABSPATH . 'wp-settings.php';
