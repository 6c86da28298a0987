<%@ page contentType="text/html" %><p><%= new java.util.Date() %></p>
