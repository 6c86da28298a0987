"""Visits a page with a headless browser, and takes a picture."""
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
options = webdriver.ChromeOptions()
for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
    options.add_argument(argument)
browser = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
browser.get("http://127.0.0.1:8000/")
browser.get("data:text/html,<h1>quiet</h1><script>localStorage</script>")
browser.save_screenshot("/tmp/page.png")
print(browser.title)
browser.quit()
